"""Scratch memory of the CPU's backend: aligned for llama.cpp, and only if ggml's fields fit."""

from __future__ import annotations

import ctypes
import errno
import sys
from typing import TYPE_CHECKING, Any

import pytest

from localrun.engine.context import LlamaContext
from localrun.engine.engine import Engine
from localrun.engine.llama.ggml import ggml_functions
from localrun.engine.llama.library import start
from localrun.engine.llama.memory import scratch_memory as module
from localrun.engine.llama.memory.scratch_memory import CACHE_LINE_BYTES, SCRATCH_BYTES
from localrun.engine.llama.model import load_model
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from tests.engine.cache.test_prefix_cache import sequence, words
from tests.engine.test_context import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="aligned on Linux only")
native_log = start()


def cpu_context(backend: int) -> module._CpuContext:
    return module._CpuContext.from_address(module._Backend.from_address(backend).context)


def cpu_device() -> module._Device:
    return module._Device.from_address(ggml_functions().ggml_backend_dev_by_name(b"CPU"))


@pytest.fixture
def backend() -> Iterator[int]:
    """Yield a CPU backend as llama.cpp creates it."""
    ggml = ggml_functions()
    created = ggml.ggml_backend_dev_init(ggml.ggml_backend_dev_by_name(b"CPU"), None)
    yield created
    ggml.ggml_backend_free(created)


def test_a_new_backend_has_aligned_memory(backend: int) -> None:
    context = cpu_context(backend)
    address, size = context.work_data, context.work_size
    ctypes.memset(address + size - 1, 7, 1)

    assert address % CACHE_LINE_BYTES == 0
    assert size == SCRATCH_BYTES


def test_graphs_of_a_context_compute_in_it(
    guide_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[int] = []
    device = cpu_device()
    aligned = module.INIT(device.init_backend)

    def init(handle: int, params: bytes | None) -> int:
        created.append(aligned(handle, params))
        return created[-1]

    watching = module.INIT(init)
    monkeypatch.setattr(device, "init_backend", ctypes.cast(watching, ctypes.c_void_p).value)
    model = load_model(
        [guide_path], native_log=native_log, num_gpu_layers=0, on_progress=lambda _: None
    )
    limits = SchedulerLimits(num_slots=2, num_cells=1024)
    context = LlamaContext(model, limits, num_threads=2)
    engine = Engine(
        context,
        Scheduler(limits, context.open_cache()),
        pieces=model.pieces,
        eog=frozenset(),
    )
    run(engine, sequence(1, words(model, "One fox. ", 300), 4))
    memory = [(cpu_context(each).work_data, cpu_context(each).work_size) for each in created]
    is_used = any(any(ctypes.string_at(address, 1 << 20)) for address, _ in memory)
    context.close()
    model.close()

    assert created
    assert {address % CACHE_LINE_BYTES for address, _ in memory} == {0}
    assert {size for _, size in memory} == {SCRATCH_BYTES}  # nothing asked for more
    assert is_used


@pytest.fixture
def ordinary_device(monkeypatch: pytest.MonkeyPatch) -> module._Hook:
    """Let the CPU's device create backends as ggml does; return the hook of this process."""
    hook = module._installed_hook()
    assert hook is not None
    ordinary = ctypes.cast(hook._ordinary_init, ctypes.c_void_p).value
    monkeypatch.setattr(cpu_device(), "init_backend", ordinary)
    return hook


@pytest.mark.usefixtures("ordinary_device")
def test_the_structures_are_those_of_this_ggml() -> None:
    assert module._Hook().fits()


@pytest.mark.usefixtures("ordinary_device")
@pytest.mark.parametrize("structure", ["_Device", "_Backend", "_CpuContext"])
def test_structures_of_another_layout_are_left_alone(
    structure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(ctypes.Structure):
        _fields_ = (("inserted", ctypes.c_void_p), *getattr(module, structure)._fields_)

    monkeypatch.setattr(module, structure, Other)

    assert not module._Hook().fits()


@pytest.mark.usefixtures("ordinary_device")
def test_another_function_in_the_place_of_init_backend_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields: dict[str, Any] = dict(module._Device._fields_)
    names = list(fields)
    first, second = names.index("get_props"), names.index("init_backend")
    names[first], names[second] = names[second], names[first]

    class Swapped(ctypes.Structure):
        _fields_ = tuple((name, fields[name]) for name in names)

    monkeypatch.setattr(module, "_Device", Swapped)

    assert not module._Hook().fits()


def test_without_memory_a_backend_keeps_what_ggml_gives_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module._installed_hook(), "_allocate", lambda *_: errno.ENOMEM)
    ggml = ggml_functions()
    created = ggml.ggml_backend_dev_init(ctypes.addressof(cpu_device()), None)
    context = cpu_context(created)
    found = (context.work_data, context.work_size)
    ggml.ggml_backend_free(created)

    assert found == (None, 0)
