"""Sequences that outgrow their context, on a backend that checks every cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.engine.context_shift import ContextShift
from localrun.engine.params import FinishReason
from localrun.engine.sequence import Sequence
from tests.engine.test_scheduler import Bench, Prompt, both_kinds

if TYPE_CHECKING:
    from localrun.engine.cache.kv_cache import MemoryKind

EDGE = 24
prompts = st.lists(st.integers(0, 3), min_size=1, max_size=EDGE - 1)


def submit(bench: Bench, number: int, prompt: Prompt, new: int, num_keep: int) -> Sequence:
    seq = Sequence(
        request_id=number,
        tokens=[*prompt],
        max_tokens=len(prompt) + new,
        shift=ContextShift.keeping(num_keep, EDGE),
    )
    bench.engine.submit(seq)
    return seq


@both_kinds
@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(prompts, st.integers(1, 80), st.integers(0, EDGE)), min_size=1, max_size=5),
    st.sets(st.integers(1, 60), max_size=4),
)
def test_any_mix_of_shifting_requests_generates_all_its_tokens(
    memory: MemoryKind,
    mix: list[tuple[Prompt, int, int]],
    aborts: set[int],
) -> None:
    bench = Bench(memory=memory)
    bench.backend.aborts = aborts
    sequences = [submit(bench, number, *request) for number, request in enumerate(mix)]

    outputs = bench.drain()

    for seq, (prompt, new, num_keep) in zip(sequences, mix, strict=True):
        kept = min(num_keep, EDGE // 2, len(prompt))
        assert seq.num_generated == new
        assert seq.num_prompt == len(prompt)
        assert len(seq.tokens) + seq.num_dropped == len(prompt) + new
        assert len(seq.tokens) <= EDGE
        assert seq.tokens[:kept] == prompt[:kept]
        assert sum(len(one.text) for one in outputs if one.seq is seq) == new
    assert sum(output.finish is not None for output in outputs) == len(mix)
    assert sorted(bench.backend.retired) == list(range(len(mix)))
    bench.check_end()


def test_half_of_what_is_not_kept_goes_and_the_kept_part_is_not_computed_again() -> None:
    bench = Bench()
    seq = submit(bench, 1, [7] * 4, EDGE - 4, 4)
    bench.drain()
    assert seq.num_dropped == 0  # full, but at its end

    bench = Bench()
    seq = submit(bench, 1, [7] * 4, EDGE - 3, 4)
    bench.drain()

    assert seq.num_dropped == (EDGE - 4) // 2
    assert seq.tokens[:4] == [7] * 4
    assert seq.tokens[4] == 14  # the fake draws positions
    assert seq.finish is FinishReason.LENGTH
    assert bench.num_computed() == (EDGE - 1) + (EDGE - 4) // 2


def test_a_shift_lets_a_request_in_that_waited_for_cells() -> None:
    bench = Bench()
    bench.submit(1, [1] * 30, 30)
    shifting = submit(bench, 2, [2] * 20, 200, 0)
    bench.submit(3, [3] * 20, 2)

    outputs = bench.drain()

    assert shifting.num_generated == 200
    assert [one.seq.request_id for one in outputs if one.finish][-1] == 2
