"""Copies of states on the fake backend, which checks every cell and every state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.engine.cache import checkpoint_policy
from localrun.engine.cache.kv_cache import HYBRID, RECURRENT, WINDOW, MemoryKind
from localrun.engine.cache.state_cache import StateCache
from localrun.engine.context_shift import ContextShift
from localrun.engine.params import FinishReason
from localrun.engine.sequence import Sequence
from tests.engine.test_scheduler import CELLS, END, Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.engine.engine import StepOutput
    from tests.engine.test_scheduler import Mix, Prompt

HYBRID_WINDOW = MemoryKind(has_state=True, has_window=True)
EDGE = 40
state_kinds = pytest.mark.parametrize("memory", [WINDOW, RECURRENT, HYBRID, HYBRID_WINDOW])

# a few beginnings, a few ends of messages, so that forks are at all positions
prompts = st.builds(
    lambda first, length, own: [*([first, 0, 0, END, 1, 1, END, 2, 2, END] * 3)[:length], *own],
    st.integers(0, 1),
    st.integers(0, 30),
    st.lists(st.integers(0, END), min_size=1, max_size=8),
)
mixes = st.lists(st.tuples(prompts, st.integers(1, 20)), min_size=1, max_size=12)


@pytest.fixture(scope="module", autouse=True)
def dense_checkpoints() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_policy, "MIN_DISTANCE_TOKENS", 3)
        patch.setattr(checkpoint_policy, "MAX_DISTANCE_TOKENS", 8)
        yield


@state_kinds
@settings(max_examples=150, deadline=None)
@given(
    mixes,
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=4),
    st.sets(st.integers(1, 60), max_size=6),
    st.sampled_from([0, 40, 1000]),
    st.sets(st.integers(0, 60), max_size=3),
)
def test_any_mix_goes_on_from_states_of_its_own_tokens(
    memory: MemoryKind,
    mix: Mix,
    cancels: list[tuple[int, int]],
    aborts: set[int],
    budget_bytes: int,
    failures: set[int],
) -> None:
    bench = Bench(memory=memory, budget_bytes=budget_bytes)
    bench.backend.aborts = aborts
    sequences: list[Sequence] = []
    ends: list[int] = []

    def act(number: int) -> list[StepOutput]:
        bench.backend.fails = number in failures
        if number % 3 == 0 and len(sequences) < len(mix):
            sequences.append(bench.submit(len(sequences), *mix[len(sequences)]))
        wanted = [request_id for when, request_id in cancels if when == number]
        return [one for one in map(bench.engine.cancel, wanted) if one is not None]

    for number in range(5000):
        ends += [output.seq.request_id for output in act(number)]
        if bench.engine.has_work:
            ends += [output.seq.request_id for output in bench.step() if output.finish]
        elif len(sequences) == len(mix):
            break

    assert sorted(ends) == list(range(len(mix)))
    for seq, (prompt, new) in zip(sequences, mix, strict=True):
        generated = seq.tokens[len(prompt) :]
        num_wanted = len(generated) if seq.finish is FinishReason.CANCELLED else new
        assert generated == list(range(len(prompt), len(prompt) + num_wanted))
        assert seq.num_cached < len(prompt)
    bench.check_end()


@state_kinds
@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(prompts, st.integers(1, 60)), min_size=1, max_size=4))
def test_shifts_begin_from_copies_of_what_is_kept(memory: MemoryKind, mix: Mix) -> None:
    bench = Bench(memory=memory)
    sequences = []
    for number, (prompt, new) in enumerate(mix):
        shift = ContextShift.keeping(10, EDGE)
        seq = Sequence(
            request_id=number, tokens=[*prompt], max_tokens=len(prompt) + new, shift=shift
        )
        bench.engine.submit(seq)
        sequences.append(seq)

    bench.drain()

    assert [seq.num_generated for seq in sequences] == [new for _, new in mix]
    bench.check_end()


def asked(bench: Bench, number: int, prompt: Prompt, new: int = 4) -> Sequence:
    seq = bench.submit(number, prompt, new)
    bench.drain()
    return seq


SYSTEM, QUESTION, OTHER = [7] * 9 + [END], [5] * 9 + [END], [6] * 9 + [END]


@state_kinds
def test_a_question_asked_again_or_in_other_words_computes_only_what_is_new(
    memory: MemoryKind,
) -> None:
    bench = Bench(memory=memory)

    first = asked(bench, 1, [*SYSTEM, *QUESTION, 1, 1])
    again = asked(bench, 2, [*SYSTEM, *QUESTION, 1, 1])
    other = asked(bench, 3, [*SYSTEM, *OTHER, 1, 1])
    goes_on = asked(bench, 4, [*first.tokens, *QUESTION])

    assert [seq.num_cached for seq in (first, again, other)] == [0, 20, 10]
    assert goes_on.num_cached == len(first.tokens) - 1  # nobody took its state


@state_kinds
@pytest.mark.parametrize("aborts", [set(), {2}])
def test_a_prefix_of_requests_that_come_together_is_computed_once(
    memory: MemoryKind, aborts: set[int]
) -> None:
    bench = Bench(memory=memory)
    bench.backend.aborts = aborts
    sequences = [bench.submit(number, [*[4] * 20, *[900 + number] * 5], 1) for number in range(3)]

    bench.drain()

    assert [seq.num_cached for seq in sequences] == [0, 20, 20]
    if not aborts:
        assert bench.num_computed() == 20 + 3 * 5


@state_kinds
def test_a_step_that_is_broken_off_costs_only_what_follows_the_last_copy(
    memory: MemoryKind,
) -> None:
    bench = Bench(memory=memory)
    bench.backend.aborts = {3}  # the question, or the answer
    seq = asked(bench, 1, [*SYSTEM, *QUESTION, 1, 1])

    assert seq.num_generated == 4
    assert bench.num_computed() < len(seq.tokens)


def test_cells_that_forks_share_leave_room_for_others() -> None:
    bench = Bench(memory=HYBRID)
    sequences = [bench.submit(number, [*[4] * 30, 900 + number], 8) for number in range(3)]
    for _ in range(6):
        bench.step()

    assert all(seq.slot is not None for seq in sequences)
    assert bench.cache.num_used_cells < CELLS


def test_without_a_free_slot_the_state_that_is_cheapest_to_lose_goes() -> None:
    bench = Bench(memory=HYBRID)
    for number in range(4):  # a slot each
        asked(bench, number, [number, *[7] * (3 + number)], 1)
    short, long = [3, 7, 7, 7, 7, 7, 7], [*[8] * 14, END, 1]

    asked(bench, 10, long, 3)  # in the slot of the oldest
    again = asked(bench, 11, long, 3)  # in its own: two tokens are lost, not five
    goes_on = asked(bench, 12, [*short, 9], 1)

    assert again.num_cached == 15
    assert goes_on.num_cached == len(short)


def test_copies_that_do_not_fit_the_budget_are_not_kept() -> None:
    bench = Bench(memory=RECURRENT, budget_bytes=1)

    asked(bench, 1, [*SYSTEM, *QUESTION, 1, 1])
    again = asked(bench, 2, [*SYSTEM, *QUESTION, 1, 1])

    assert isinstance(bench.cache, StateCache)
    assert bench.cache.checkpoints.num_bytes == 0
    assert again.num_cached == 0
