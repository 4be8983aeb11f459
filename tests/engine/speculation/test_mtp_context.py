"""The context of a model's MTP layers follows the options and the threads of its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
import pytest

from localrun.engine.llama.library import start
from localrun.engine.llama.model import Model, load_model
from localrun.engine.llama.native_context import ALL, read_slot
from localrun.engine.params import CacheType, LoadOptions
from localrun.engine.scheduler import SchedulerLimits
from localrun.engine.speculation.mtp_context import MtpContext, MtpInputs, MtpOutput
from localrun.engine.threads import ThreadGauge
from localrun.hardware.contention import CpuUsage
from tests.translation.more_models import qwen35

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMITS = SchedulerLimits(num_slots=2, num_cells=256)
TOKENS = list(range(300, 340))
EXACT = LoadOptions(cache_type=CacheType.F32, flash_attention=False)
TOLERANCE = 1e-3
native_log = start()


@pytest.fixture(scope="module")
def model(guide_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    path = tmp_path_factory.mktemp("tiny") / "hybrid.gguf"
    qwen35(path, guide_path)
    loaded = load_model(
        [path], native_log=native_log, num_gpu_layers=0, has_mtp=True, on_progress=lambda _: None
    )
    yield loaded
    loaded.close()


def open_mtp(
    model: Model,
    options: LoadOptions,
    *,
    num_threads: int = 1,
    gauge: ThreadGauge | None = None,
) -> MtpContext:
    return MtpContext(model, LIMITS, num_threads=num_threads, options=options, gauge=gauge)


def inputs(mtp: MtpContext, seq_id: int = 0) -> MtpInputs:
    """Return tokens of one sequence with arbitrary hidden states."""
    rng = np.random.default_rng(seq_id)
    return MtpInputs(
        seq_id, 0, TOKENS, rng.normal(size=(len(TOKENS), mtp.width)).astype(np.float32)
    )


def output(mtp: MtpContext) -> MtpOutput:
    outputs = mtp.compute([inputs(mtp)])
    assert outputs is not None
    return outputs[0]


def one_by_one(mtp: MtpContext, whole: MtpInputs) -> MtpOutput:
    """Return the output behind inputs that are computed in a call each."""
    parts = zip(whole.tokens, whole.hidden, strict=True)
    outputs = [
        mtp.compute([MtpInputs(whole.seq_id, position, [token], hidden[np.newaxis])])
        for position, (token, hidden) in enumerate(parts)
    ]
    assert outputs[-1] is not None
    return outputs[-1][0]


def test_outputs_are_those_behind_the_last_input_of_each_sequence(model: Model) -> None:
    mtp = open_mtp(model, EXACT)
    both = [inputs(mtp, 0), inputs(mtp, 1)]

    together = mtp.compute(both)
    for seq_id in range(2):
        mtp.truncate(seq_id, 0)
    single = [one_by_one(mtp, each) for each in both]

    assert together is not None
    for one, other in zip(together, single, strict=True):
        assert one.token == other.token
        assert np.allclose(one.hidden, other.hidden, atol=TOLERANCE)
    mtp.close()


def num_saved_bytes(model: Model, options: LoadOptions) -> int:
    mtp = open_mtp(model, options)
    output(mtp)
    size = len(read_slot(mtp._handle, 0, ALL))
    mtp.close()
    return size


def test_cells_have_the_type_that_the_plan_counts(model: Model) -> None:
    half = num_saved_bytes(model, LoadOptions(cache_type=CacheType.F16))
    full = num_saved_bytes(model, EXACT)

    assert full > 1.5 * half


def hidden_state(model: Model, options: LoadOptions) -> np.ndarray:
    mtp = open_mtp(model, options)
    hidden = output(mtp).hidden
    mtp.close()
    return hidden


def test_positions_turn_by_the_same_rope_as_in_the_model(model: Model) -> None:
    plain, again = hidden_state(model, LoadOptions()), hidden_state(model, LoadOptions())
    turned = hidden_state(model, LoadOptions(rope_freq_base=50))

    assert np.array_equal(plain, again)
    assert np.abs(turned - plain).max() > TOLERANCE


def test_the_context_uses_no_more_threads_than_there_is_room_for(model: Model) -> None:
    times = iter([0.0, 1.0])  # seconds in which no processor was idle
    gauge = ThreadGauge(2, lambda: CpuUsage(next(times), {"1": (0.0, 0.0)}, 0.0))
    mtp = open_mtp(model, LoadOptions(), num_threads=2, gauge=gauge)
    before = llama_cpp.llama_n_threads(mtp._handle)

    output(mtp)

    assert (before, llama_cpp.llama_n_threads(mtp._handle)) == (2, 1)
    mtp.close()
