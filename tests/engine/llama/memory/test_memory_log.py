from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.engine.context import LlamaContext
from localrun.engine.llama.library import start
from localrun.engine.llama.memory.memory_log import MemoryTaken
from localrun.engine.llama.model import load_model
from localrun.engine.scheduler import SchedulerLimits
from localrun.hardware.need import Setup, cell_bytes, compute_bytes, output_bytes
from localrun.hardware.reading import shape_of

if TYPE_CHECKING:
    from pathlib import Path

LINES = [
    "load_tensors:   CPU_Mapped model buffer size =   10.00 MiB",
    "load_tensors:        CUDA0 model buffer size =   20.00 MiB",
    "llama_kv_cache:      CUDA0 KV buffer size =     4.00 MiB",
    "llama_kv_cache:      CUDA0 KV buffer size =     2.00 MiB",
    "sched_reserve:      CUDA0 compute buffer size =     7.00 MiB",
    "sched_reserve:      CUDA0 compute buffer size =     8.00 MiB",
    "sched_reserve:  CUDA_Host compute buffer size =     1.00 MiB",
    "llama_kv_cache: size =    6.00 MiB ( 256 cells), K (f16): 3.00 MiB",
]


def test_buffers_are_heard_by_device() -> None:
    taken = MemoryTaken()
    for line in LINES:
        taken.read_line(line)

    assert taken.by_device() == {"CPU": 11 << 20, "CUDA0": 34 << 20}


@pytest.mark.parametrize("owner", ["CPU_REPACK", "AMX"])
def test_weights_that_were_rearranged_for_the_processor_count_once(owner: str) -> None:
    taken = MemoryTaken()
    taken.read_line("load_tensors:   CPU_Mapped model buffer size =   10.00 MiB")
    taken.read_line(f"load_tensors:   {owner} model buffer size =    4.00 MiB")

    assert taken.by_device() == {"CPU": 10 << 20}


def test_a_real_load_takes_what_was_planned(guide_path: Path) -> None:
    taken = MemoryTaken()
    log = start(taken.read_line)
    model = load_model([guide_path], native_log=log, num_gpu_layers=0, on_progress=lambda _: None)
    context = LlamaContext(model, SchedulerLimits(num_slots=4, num_cells=1024), num_threads=1)
    context.close()
    model.close()

    shape, setup = shape_of([guide_path]), Setup(num_cells=1024, num_slots=4)
    cells = sum(cell_bytes(layer, shape, setup) for layer in shape.layers)
    planned = shape.weight_bytes + cells + compute_bytes(shape, setup) + output_bytes(shape, setup)
    assert 0.97 <= planned / taken.by_device()["CPU"] <= 1.1
