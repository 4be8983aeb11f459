"""Background sequences beside interactive ones: they give way, and nothing of theirs is lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.engine.cache.kv_cache import FULL, HYBRID, MemoryKind
from localrun.engine.pacing.background import PROBE_STEPS, PROMPT_STEPS, BackgroundPacing, StepMix
from localrun.engine.params import FinishReason
from localrun.engine.sequence import Sequence
from tests.engine.test_scheduler import SLOTS, Bench, Mix, mixes

ALONE_S = 0.04


def decoding(request_id: int, *, is_background: bool) -> Sequence:
    seq = Sequence(request_id=request_id, tokens=[0], max_tokens=99, is_background=is_background)
    seq.tokens.append(1)
    seq.num_computed = 1
    return seq


def prompt(request_id: int, *, is_background: bool) -> Sequence:
    tokens = [0] * 50
    return Sequence(
        request_id=request_id, tokens=tokens, max_tokens=99, is_background=is_background
    )


def run_steps(
    pacing: BackgroundPacing, running: list[Sequence], step_s: list[float], num_steps: int
) -> list[int]:
    """Return how many background sequences each step had; ``step_s`` by that number."""
    counts = []
    for _ in range(num_steps):
        selected = pacing.select(running)
        num = sum(seq.is_background for seq in selected)
        counts.append(num)
        pacing.record(StepMix.of([(seq, False) for seq in selected]), step_s[num])
    return counts


@pytest.mark.parametrize("memory", [FULL, HYBRID])
@settings(max_examples=150, deadline=None)
@given(mixes, st.lists(st.booleans(), min_size=12, max_size=12), st.sets(st.integers(1, 60)))
def test_any_mix_of_priorities_generates_each_position_once(
    memory: MemoryKind, mix: Mix, priorities: list[bool], aborts: set[int]
) -> None:
    bench = Bench(memory=memory)
    bench.backend.aborts = aborts
    sequences: list[Sequence] = []

    def arrive(number: int) -> None:
        if number < len(mix):
            background = priorities[number]
            sequences.append(bench.submit(number, *mix[number], is_background=background))

    arrive(0)
    bench.drain(lambda number: arrive(number + 1))

    assert len(sequences) == len(mix)
    for seq, (tokens, new) in zip(sequences, mix, strict=True):
        assert seq.tokens[len(tokens) :] == list(range(len(tokens), len(tokens) + new))
        assert seq.finish is FinishReason.LENGTH
    bench.check_end()


def test_an_interactive_request_takes_the_slot_of_the_youngest_background_one() -> None:
    bench = Bench()
    background = [bench.submit(n, [n, n, n], 9, is_background=True) for n in range(SLOTS)]
    bench.step()
    interactive = bench.submit(9, [7, 7, 7], 3)

    bench.step()

    assert interactive.num_generated == 1
    assert [seq.slot is None for seq in background] == [False] * (SLOTS - 1) + [True]
    bench.drain()
    assert all(seq.num_generated == 9 for seq in background)


def test_an_interactive_request_takes_the_cells_of_background_ones() -> None:
    bench = Bench()
    background = [bench.submit(n, [n] * 25, 3, is_background=True) for n in range(2)]
    while not all(seq.num_generated for seq in background):
        bench.step()
    interactive = bench.submit(9, [7] * 20, 2)

    bench.step()

    assert interactive.slot is not None
    bench.drain()
    assert all(seq.num_generated == 3 for seq in background)


def test_an_interactive_request_that_came_last_ends_before_those_that_wait() -> None:
    bench = Bench()
    for number in range(3 * SLOTS):
        bench.submit(number, [number] * 5, 8, is_background=True)
    bench.step()
    bench.submit(99, [7] * 5, 8)

    ends = [output.seq.request_id for output in bench.drain() if output.finish]

    assert ends.index(99) <= 3 * SLOTS - SLOTS


def test_an_interactive_stream_gets_a_token_in_every_step() -> None:
    bench = Bench()
    stream = bench.submit(0, [1, 2, 3], 20)
    bench.step()
    for number in range(1, 2 * SLOTS):
        bench.submit(number, [number] * 12, 8, is_background=True)

    for generated in range(2, 20):
        bench.step()
        assert stream.num_generated == generated


def test_background_waits_while_an_interactive_prompt_is_computed() -> None:
    running = [decoding(1, is_background=True), prompt(2, is_background=False)]

    assert BackgroundPacing().select(running) == running[1:]


def test_background_alone_is_not_held_back() -> None:
    running = [decoding(1, is_background=True), prompt(2, is_background=True)]

    assert BackgroundPacing().select(running) == running


def test_as_many_decode_beside_a_stream_as_cost_little() -> None:
    pacing = BackgroundPacing()
    running = [decoding(n, is_background=n > 0) for n in range(6)]
    step_s = [ALONE_S * factor for factor in (1, 1.1, 1.2, 1.3, 1.5, 1.7)]

    counts = run_steps(pacing, running, step_s, 10 * PROBE_STEPS)[PROBE_STEPS:]

    assert sorted(set(counts)) == [0, 2, 3]
    assert counts.count(2) == 9 * (PROBE_STEPS - 2)
    assert counts.count(0) == counts.count(3) == 9  # to measure the costs again


def test_costs_that_change_change_the_number() -> None:
    pacing = BackgroundPacing()
    running = [decoding(n, is_background=n > 0) for n in range(4)]
    run_steps(pacing, running, [ALONE_S * factor for factor in (1, 2, 3, 4)], 3 * PROBE_STEPS)

    counts = run_steps(pacing, running, [ALONE_S * factor for factor in (1, 1.1, 1.2, 1.21)], 999)

    assert counts[-5:].count(3) >= 4


def test_a_background_prompt_is_computed_in_few_steps() -> None:
    pacing = BackgroundPacing()
    running = [decoding(1, is_background=False), prompt(2, is_background=True)]

    counts = run_steps(pacing, running, [ALONE_S, 10 * ALONE_S], 10 * (PROMPT_STEPS + 1))

    assert counts.count(1) == 10
