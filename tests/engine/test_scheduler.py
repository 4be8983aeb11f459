"""The scheduler and the engine's loop on a backend that draws positions and checks every cell."""

from __future__ import annotations

from itertools import count, cycle
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.engine.cache.cell_supply import CellSupply
from localrun.engine.cache.kv_cache import FULL, HYBRID, CellLayout, KvCache, MemoryKind
from localrun.engine.cache.prefix_cache import PrefixCache
from localrun.engine.cache.state_cache import StateCache
from localrun.engine.cache.stream_memory import CellPages
from localrun.engine.cache.switching_cache import SwitchingCache
from localrun.engine.engine import Engine, StepOutput
from localrun.engine.llama.lora_adapters import AdapterFile
from localrun.engine.pacing.reader import AnswerReader
from localrun.engine.params import FinishReason
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.sequence import Sequence
from localrun.engine.speculation.speculator import Speculator, max_draft_length
from localrun.engine.text import TextStream
from tests.engine.cells import FakeBackend

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence as Sequences

    from localrun.engine.cache.layout_rule import LayoutRule
    from localrun.engine.llama.lora_adapters import AdapterSet

SLOTS, CELLS, BUDGET, HOLDERS, DRAFTS = 4, 64, 16, 9, 12
STREAM_CELLS = 48
END = 3  # ends a message
PIECES = [b"x"] * 1000
Prompt = list[int]
Mix = list[tuple[Prompt, int]]


class Bench:
    """An engine on a fake backend, with everything that a test wants to look at."""

    def __init__(
        self,
        *,
        memory: MemoryKind = FULL,
        eog: frozenset[int] = frozenset(),
        speculation: Speculator | None = None,
        budget_bytes: int = 1000,
        supply: CellSupply | None = None,
        rule: LayoutRule | None = None,
    ) -> None:
        self.backend = FakeBackend(CELLS, memory)
        limits = SchedulerLimits(
            num_slots=SLOTS,
            num_cells=CELLS,
            step_tokens=BUDGET,
            min_shared_tokens=4,
            num_drafts=DRAFTS,
        )
        self.cache: KvCache
        if memory.is_plain:
            self.cache = PrefixCache(
                self.backend,
                num_slots=SLOTS,
                supply=supply or CellSupply(CELLS),
                num_holders=HOLDERS,
                host_cache_bytes=budget_bytes,
            )
            if rule is not None:
                self.backend.stream_cells = STREAM_CELLS
                self.cache = SwitchingCache(self.cache, self.backend, rule)
                self.cache._value_pages = CellPages(4, STREAM_CELLS)
        else:
            self.cache = StateCache(
                self.backend,
                num_slots=SLOTS,
                supply=supply or CellSupply(CELLS),
                kind=memory,
                message_ends=frozenset({END}),
                checkpoint_bytes=budget_bytes,
            )
        self.scheduler = Scheduler(limits, self.cache)
        self.engine = Engine(
            self.backend,
            self.scheduler,
            pieces=PIECES,
            eog=eog,
            clock=count(1, 0.001).__next__,
            speculation=speculation,
        )

    def submit(
        self,
        request_id: int,
        prompt: Prompt,
        new: int,
        adapters: AdapterSet = (),
        reader: AnswerReader | None = None,
        *,
        is_background: bool = False,
    ) -> Sequence:
        seq = Sequence(
            request_id=request_id,
            tokens=[*prompt],
            max_tokens=len(prompt) + new,
            adapters=adapters,
            reader=reader,
            is_background=is_background,
        )
        self.engine.submit(seq)
        return seq

    def step(self, num_repeats: int = 0) -> list[StepOutput]:
        repeats = iter([True] * num_repeats)
        outputs = self.engine.step(lambda: next(repeats, False))
        self.check_cells()
        return outputs

    def drain(self, before_step: Callable[[int], None] = lambda _: None) -> list[StepOutput]:
        outputs: list[StepOutput] = []
        for number in range(5000):
            before_step(number)
            if not self.engine.has_work:
                return outputs
            outputs += self.step()
        raise AssertionError("the engine does not come to an end")

    def check_cells(self) -> None:
        """All that is in use is counted, what only a window shares more than once."""
        assert self.backend.num_used_cells <= self.cache.num_used_cells <= CELLS
        if not self.backend.memory.has_window:
            assert self.backend.num_used_cells == self.cache.num_used_cells

    def check_end(self) -> None:
        """Nothing is left but cached prefixes, and nothing at all without them."""
        self.check_cells()
        if isinstance(self.cache, PrefixCache):
            assert (
                self.cache.tree.num_idle == self.cache.tree.num_cells == self.cache.num_used_cells
            )
        self.cache.clear()
        self.cache.compact()
        assert self.backend.holders == {}
        assert self.backend.streams is None
        assert self.cache.num_used_cells == 0
        assert not any(self.backend.held.values())

    def num_computed(self) -> int:
        return sum(count for step in self.backend.steps for _, count in step)


class Guesser(Speculator):
    """Guesses what `FakeBackend` will draw, with as many right ones first as it is told."""

    def __init__(self, guesses: list[tuple[int, int]]) -> None:
        super().__init__([])
        self._guesses = cycle(guesses or [(0, 0)])

    def propose(self, decoding: Sequences[Sequence]) -> dict[Sequence, tuple[int, ...]]:
        found = {}
        for seq in decoding:
            right, wrong = next(self._guesses)
            first = len(seq.tokens)
            found[seq] = (*range(first, first + right), *[999] * wrong)[
                : max(0, max_draft_length(seq))
            ]
        return found


# few tokens and common beginnings, so that prefixes meet in all ways
prompts = st.builds(
    lambda shared, own: [*range(shared), *own],
    st.integers(0, 30),
    st.lists(st.integers(0, 3), min_size=1, max_size=10),
)
mixes = st.lists(st.tuples(prompts, st.integers(1, 20)), min_size=1, max_size=12)
both_kinds = pytest.mark.parametrize("memory", [FULL, HYBRID])


@both_kinds
@settings(max_examples=200, deadline=None)
@given(mixes, st.sets(st.integers(1, 60), max_size=6))
def test_any_mix_of_requests_generates_each_position_once(
    memory: MemoryKind,
    mix: Mix,
    aborts: set[int],
) -> None:
    bench = Bench(memory=memory)
    bench.backend.aborts = aborts
    sequences = [bench.submit(number, *request) for number, request in enumerate(mix)]

    outputs = bench.drain()

    for seq, (prompt, new) in zip(sequences, mix, strict=True):
        assert seq.tokens[len(prompt) :] == list(range(len(prompt), len(prompt) + new))
        assert seq.finish is FinishReason.LENGTH
    assert sum(output.finish is not None for output in outputs) == len(mix)
    assert all(0 < sum(count for _, count in step) <= BUDGET for step in bench.backend.steps)
    assert sorted(bench.backend.retired) == list(range(len(mix)))
    bench.check_end()


@both_kinds
@settings(max_examples=200, deadline=None)
@given(mixes, st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=8))
def test_arrivals_and_cancels_at_any_time_end_each_request_exactly_once(
    memory: MemoryKind,
    mix: Mix,
    cancels: list[tuple[int, int]],
) -> None:
    bench = Bench(memory=memory)
    ends: list[int] = []

    def act(number: int) -> None:
        if number % 2 == 0 and number // 2 < len(mix):
            bench.submit(number // 2, *mix[number // 2])
        for when, request_id in cancels:
            if when == number and (output := bench.engine.cancel(request_id)) is not None:
                assert output.finish is FinishReason.CANCELLED
                ends.append(request_id)

    with pytest.MonkeyPatch.context() as patch:  # prefixes go out and in all the time
        patch.setattr("localrun.engine.cache.idle_prefixes.OFFLOAD_AGE_TOKENS", 8)
        patch.setattr("localrun.engine.cache.idle_prefixes.CHECK_INTERVAL_TOKENS", 4)
        for number in range(5000):
            act(number)
            if bench.engine.has_work:
                ends += [output.seq.request_id for output in bench.step() if output.finish]
            elif number > 2 * len(mix):
                break

    assert sorted(ends) == list(range(len(mix)))
    bench.check_end()


@settings(max_examples=200, deadline=None)
@given(
    mixes,
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=20),
    st.sets(st.integers(1, 60), max_size=6),
)
def test_guesses_change_no_token_and_leave_no_cell(
    mix: Mix, guesses: list[tuple[int, int]], aborts: set[int]
) -> None:
    bench = Bench(speculation=Guesser(guesses))
    bench.backend.aborts = aborts
    sequences = [bench.submit(number, *request) for number, request in enumerate(mix)]

    outputs = bench.drain()

    for seq, (prompt, new) in zip(sequences, mix, strict=True):
        assert seq.tokens[len(prompt) :] == list(range(len(prompt), len(prompt) + new))
        text = "".join(output.text for output in outputs if output.seq is seq)
        assert text == "x" * new
        assert seq.num_accepted <= seq.num_drafted
    assert sum(output.finish is not None for output in outputs) == len(mix)
    assert all(0 < sum(count for _, count in step) <= BUDGET for step in bench.backend.steps)
    bench.check_end()


def test_right_guesses_save_steps() -> None:
    bench = Bench(speculation=Guesser([(4, 0)]))
    seq = bench.submit(1, [0] * 5, 21)

    bench.drain()

    assert len(bench.backend.steps) == 1 + 4
    assert (seq.num_drafted, seq.num_accepted) == (16, 16)


def test_an_end_token_among_right_guesses_ends_the_text_there() -> None:
    bench = Bench(eog=frozenset({7}), speculation=Guesser([(6, 0)]))
    seq = bench.submit(1, [0] * 5, 20)

    outputs = bench.drain()

    assert "".join(output.text for output in outputs) == "xx"
    assert seq.tokens[5:] == [5, 6, 7]
    bench.check_end()


def test_a_stop_string_among_right_guesses_ends_the_text_there() -> None:
    bench = Bench(speculation=Guesser([(6, 0)]))
    seq = Sequence(request_id=1, tokens=[0] * 5, max_tokens=25, text=TextStream(["xxx"]))
    bench.engine.submit(seq)

    bench.drain()

    assert (seq.finish, seq.num_generated) == (FinishReason.STOP, 3)
    bench.check_end()


def test_nobody_is_preempted_for_a_guess() -> None:
    bench = Bench(speculation=Guesser([(0, 6)]))
    bench.submit(1, [1] * 22, 10)  # both fit to the end, but not with six guesses each
    young = bench.submit(2, [2] * 22, 10)

    while bench.engine.has_work:
        bench.step()
        assert young.slot is not None or young.finish is not None or not young.num_generated
    assert max(sum(count for _, count in step) for step in bench.backend.steps[4:]) > 2


def test_decoding_sequences_go_on_while_a_long_prompt_is_computed() -> None:
    bench = Bench()
    talker = bench.submit(1, [1, 2], 20)
    bench.step()
    bench.submit(2, [3] * 40, 1)

    generated = []
    for _ in range(4):
        bench.step()
        generated.append(talker.num_generated)

    assert generated == [2, 3, 4, 5]


def test_a_full_cache_preempts_the_youngest_and_nobody_gets_an_error() -> None:
    bench = Bench()
    bench.submit(1, [1] * 20, 30)
    young = bench.submit(2, [2] * 20, 30)

    outputs = bench.drain()

    assert [o.seq.request_id for o in outputs if o.finish] == [1, 2]
    assert young.tokens[20:] == list(range(20, 50))


def test_a_preempted_sequence_goes_on_from_what_is_still_cached() -> None:
    bench = Bench()
    bench.submit(1, [1] * 20, 20)
    bench.submit(2, [2] * 20, 20)

    bench.drain()

    assert bench.num_computed() < 2 * 39 + 39  # not all of the younger one twice


def test_an_end_token_stops_and_is_not_text() -> None:
    bench = Bench(eog=frozenset({7}))
    bench.submit(1, [0] * 5, 20)

    outputs = bench.drain()

    assert "".join(output.text for output in outputs) == "xx"
    assert outputs[-1].finish is FinishReason.STOP


def test_first_come_is_first_served() -> None:
    bench = Bench()
    for number in range(9):
        bench.submit(number, [number] * 5, 3)

    finished = [output.seq.request_id for output in bench.drain() if output.finish]

    assert finished == sorted(finished)


def test_a_prefix_of_requests_that_come_together_is_computed_once() -> None:
    bench = Bench()
    sequences = [bench.submit(number, [*range(30), 900 + number], 8) for number in range(3)]
    for _ in range(3):  # two for the prompt of the first
        bench.step()

    assert all(seq.slot is not None for seq in sequences)
    bench.drain()
    assert bench.num_computed() == 30 + 3 * 8  # each: the end of its prompt, seven generated
    assert [seq.num_cached for seq in sequences] == [0, 30, 30]


def test_equal_prompts_are_computed_once_whenever_they_come() -> None:
    bench = Bench()
    sequences = []
    for number in range(4):
        sequences.append(bench.submit(number, [*range(30)], 3))
        bench.step()

    bench.drain()

    assert bench.num_computed() == 30 + 3 + 4 * 2  # the others: the last token of the prompt
    assert [seq.num_cached for seq in sequences] == [0, 29, 29, 29]


def test_others_pass_those_that_wait_for_a_common_prefix() -> None:
    bench = Bench()
    bench.submit(1, [*range(40)], 1)
    follower = bench.submit(2, [*range(40)], 1)
    other = bench.submit(3, [7], 2)

    bench.step()

    assert follower.slot is None
    assert other.slot is not None


@both_kinds
def test_the_next_turn_of_a_chat_computes_only_what_is_new(
    memory: MemoryKind,
) -> None:
    bench = Bench(memory=memory)
    first = bench.submit(1, [1] * 10, 5)
    bench.drain()

    second = bench.submit(2, [*first.tokens, 8, 9], 1)
    bench.drain()

    assert second.num_cached == 14  # the last generated token was never computed


def test_a_state_is_not_taken_over_by_a_prompt_that_differs_within_it() -> None:
    bench = Bench(memory=HYBRID)
    bench.submit(1, [1] * 10, 5)
    bench.drain()

    other = bench.submit(2, [1] * 10, 1)
    bench.drain()

    assert other.num_cached == 0


def test_the_prefix_that_was_used_longest_ago_goes_first() -> None:
    bench = Bench()
    for number in (1, 2):
        bench.submit(number, [number] * 20, 1)
        bench.drain()
    bench.submit(3, [1] * 20, 1)
    bench.drain()
    bench.submit(4, [4] * 40, 1)  # room for it and one of the others
    bench.drain()

    again = [bench.submit(5, [1] * 20, 1), bench.submit(6, [2] * 20, 1)]
    bench.drain()

    assert again[0].num_cached == 19
    assert again[1].num_cached < 19


def test_a_prefix_that_nobody_asks_for_is_moved_out_of_the_cells_and_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("localrun.engine.cache.idle_prefixes.OFFLOAD_AGE_TOKENS", 20)
    bench = Bench()
    bench.submit(1, [1] * 20, 1)
    bench.drain()
    bench.submit(2, [2], 50)
    bench.drain()
    assert isinstance(bench.cache, PrefixCache)
    num_cells = bench.cache.tree.find([1] * 20, 20).length

    again = bench.submit(3, [1] * 20, 1)
    bench.drain()
    assert (num_cells, again.num_cached) == (0, 19)


def test_a_rest_leaves_the_latest_prefix_in_the_cells_and_the_others_come_back() -> None:
    bench = Bench(budget_bytes=100_000)
    for number in (1, 2, 3):  # the last one ends last
        bench.submit(number, [number] * 15, number)
    bench.drain()
    assert isinstance(bench.cache, PrefixCache)

    pieces = 0
    while bench.cache.compact():
        pieces += 1
        bench.check_cells()
    cells = [bench.cache.tree.find([number] * 15, 15).length for number in (1, 2, 3)]
    again = [bench.submit(10 + number, [number] * 15, 1) for number in (1, 2, 3)]
    bench.drain()

    assert pieces > 0
    assert cells == [0, 0, 15]
    assert [seq.num_cached for seq in again] == [14, 14, 14]


def test_without_room_elsewhere_it_goes_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localrun.engine.cache.idle_prefixes.OFFLOAD_AGE_TOKENS", 100)
    monkeypatch.setattr("localrun.engine.cache.idle_prefixes.DROP_AGE_TOKENS", 100)
    bench = Bench(budget_bytes=0)
    bench.submit(1, [1] * 20, 1)
    bench.drain()

    for number in range(2, 22):
        bench.submit(number, [2], 10)
        bench.drain()

    aged, fresh = bench.submit(30, [1] * 20, 1), bench.submit(31, [2, 2], 1)
    bench.drain()
    assert (aged.num_cached, fresh.num_cached) == (0, 1)


def test_what_was_moved_out_long_ago_makes_room_for_later_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("localrun.engine.cache.idle_prefixes.DROP_AGE_TOKENS", 30)
    bench = Bench(budget_bytes=500)  # for one of them
    for number in (1, 2, 3, 4):
        bench.submit(number, [number] * 15, 20)
        bench.drain()
    assert isinstance(bench.cache, PrefixCache)
    while bench.cache.compact():
        pass

    again = [bench.submit(10 + number, [number] * 15, 1) for number in (1, 3, 4)]
    bench.drain()

    assert again[0].num_cached < 14
    assert again[2].num_cached == 14
    assert again[1].num_cached == 14


def test_prompts_are_computed_at_once_while_nobody_reads() -> None:
    bench = Bench()
    bench.submit(1, [1, 2, 3], 30)
    for _ in range(6):
        bench.step()
    bench.submit(2, [11, 12, 13, 14, 15], 9)
    bench.submit(3, [21, 22, 23, 24, 25], 9)

    bench.step()

    assert bench.backend.steps[-1] == [(1, 1), (2, 5), (3, 5)]


def test_many_prompt_tokens_beside_many_cells_are_computed_in_steps_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("localrun.engine.scheduler.TILE_TOKENS", 8)
    monkeypatch.setattr("localrun.engine.scheduler.TILE_CELLS", 6)
    bench = Bench()
    bench.submit(1, [1, 2, 3], 30)
    for _ in range(6):
        bench.step()
    bench.submit(2, [2] * 36, 9)

    for _ in range(5):
        bench.step()

    assert bench.backend.steps[-5:] == [
        [(2, 16)],
        [(1, 1)],
        [(2, 16)],
        [(1, 1), (2, 4)],
        [(1, 1), (2, 1)],
    ]


@pytest.mark.parametrize(
    ("layout", "steps"),
    [
        (CellLayout.UNIFIED, [[(1, 1), (2, 15)], [(1, 1), (2, 15)], [(1, 1), (2, 6)]]),
        (CellLayout.STREAMS, [[(2, 16)], [(1, 1)], [(2, 16)], [(1, 1), (2, 4)]]),
    ],
)
def test_in_streams_whole_tiles_are_computed_apart_from_what_decodes(
    monkeypatch: pytest.MonkeyPatch, layout: CellLayout, steps: list[list[tuple[int, int]]]
) -> None:
    monkeypatch.setattr("localrun.engine.scheduler.TILE_TOKENS", 8)
    monkeypatch.setattr(PrefixCache, "layout", layout)
    bench = Bench()
    bench.submit(1, [1, 2, 3], 30)
    bench.step()
    bench.submit(2, [2] * 36, 9)

    for _ in steps:
        bench.step()

    assert bench.backend.steps[1:] == steps


@pytest.mark.parametrize(
    ("layout", "steps"),
    [
        (CellLayout.UNIFIED, [[(1, 13), (2, 3)], [(1, 1), (2, 15)]]),
        (CellLayout.STREAMS, [[(1, 13)], [(2, 16)]]),
    ],
)
def test_a_few_tokens_of_one_more_prompt_take_no_pass_of_their_own_in_streams(
    monkeypatch: pytest.MonkeyPatch, layout: CellLayout, steps: list[list[tuple[int, int]]]
) -> None:
    monkeypatch.setattr("localrun.engine.scheduler.TILE_TOKENS", 8)
    monkeypatch.setattr(PrefixCache, "layout", layout)
    bench = Bench()
    bench.submit(1, [1] * 13, 9)
    bench.submit(2, [2] * 20, 9)
    bench.step()
    bench.step()

    assert bench.backend.steps == steps


def test_a_batch_decodes_when_all_its_prompts_are_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("localrun.engine.scheduler.TILE_TOKENS", 8)
    monkeypatch.setattr("localrun.engine.scheduler.TILE_CELLS", 6)
    bench = Bench()
    for number, size in enumerate((7, 40)):
        bench.submit(number, [number] * size, 4)

    for _ in range(4):
        bench.step()

    assert bench.backend.steps == [[(0, 7), (1, 9)], [(1, 16)], [(1, 15)], [(0, 1), (1, 1)]]


def test_sets_of_adapters_take_turns_of_a_prompt_step_and_a_step_that_decodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("localrun.engine.scheduler.TILE_TOKENS", 8)
    monkeypatch.setattr("localrun.engine.scheduler.TILE_CELLS", 2)
    bench = Bench()
    adapters = ((AdapterFile("a", 1, 1), 1.0),)
    bench.submit(1, [1, 2, 3], 20)
    bench.submit(2, [4, 5, 6], 20, adapters=adapters)
    for _ in range(6):
        bench.step()
    bench.submit(3, [7] * 32, 2, adapters=adapters)

    for _ in range(6):
        bench.step()

    turn_of_adapters, turn_without = [[(3, 16)], [(2, 1)]], [[(1, 1)]]
    assert bench.backend.steps[-6:-1] == [
        *turn_without,
        *turn_of_adapters,
        *turn_without,
        [(3, 16)],
    ]
    assert bench.backend.steps[-1] == [(2, 1), (3, 1)]


def test_prompts_wait_while_a_reader_would_wait_for_them() -> None:
    bench = Bench()
    stream = bench.submit(1, [1, 2, 3], 40, reader=AnswerReader(0.0005))  # a step takes more
    for _ in range(4):
        bench.step()
    bench.submit(2, [2] * 15, 1)

    while len(bench.backend.steps[-1]) == 1:
        bench.step()

    assert 6 < stream.num_generated < 30
    assert stream.num_passed == 0
    assert bench.backend.steps[-1] == [(1, 1), (2, 15)]  # in one call


def test_prompts_get_their_share_beside_a_stream_with_guesses_in_every_step() -> None:
    bench = Bench(speculation=Guesser([(1, 1)]))
    bench.submit(1, [1, 2, 3], 55, reader=AnswerReader(0.0005))
    for _ in range(4):
        bench.step()
    prompt = bench.submit(2, [2] * 5, 1)

    for _ in range(20):
        bench.step()

    assert prompt.finish is FinishReason.LENGTH


def test_a_reader_that_is_far_behind_the_answer_lets_prompts_pass_at_once() -> None:
    bench = Bench()
    bench.submit(1, [1, 2, 3], 30, reader=AnswerReader(1.0))
    for _ in range(4):
        bench.step()
    bench.submit(2, [2] * 15, 1)

    bench.step()

    assert bench.backend.steps[-1] == [(1, 1), (2, 15)]


def test_a_short_prompt_passes_a_long_one() -> None:
    bench = Bench()
    long = bench.submit(1, [1] * 40, 1)
    bench.step()
    bench.submit(2, [2] * 8, 1)

    bench.step()

    assert bench.backend.steps[-1] == [(2, 8), (1, 8)]
    assert long.num_passed == 8


def test_a_long_prompt_is_passed_by_as_many_tokens_as_it_has_at_most() -> None:
    bench = Bench()
    long = bench.submit(1, [1] * 40, 1)

    for number in range(2, 40):
        bench.submit(number, [number] * 14, 1)
        bench.step()
        if long.finish is not None:
            break

    assert long.finish is not None
    assert long.num_passed <= 40 + BUDGET


def test_a_step_that_decodes_is_repeated_without_a_plan() -> None:
    bench = Bench()
    sequences = [bench.submit(number, [number], 9) for number in (1, 2)]
    bench.step()
    bench.step()

    outputs = bench.step(num_repeats=3)

    assert [output.seq for output in outputs] == sequences * 4
    assert bench.backend.steps[2:] == [[(1, 1), (2, 1)]] * 4
    bench.drain()
    bench.check_end()


def test_a_step_is_repeated_until_a_sequence_ends() -> None:
    bench = Bench()
    bench.submit(1, [1], 9)
    ending = bench.submit(2, [2], 3)
    bench.step()

    bench.step(num_repeats=5)

    assert ending.finish is FinishReason.LENGTH
    assert bench.backend.steps[1:] == [[(1, 1), (2, 1)]] * 2


@pytest.mark.parametrize("num_tokens", [1, 3])
def test_a_prompt_is_not_repeated(num_tokens: int) -> None:
    bench = Bench()
    seq = bench.submit(1, [*range(num_tokens)], 9)

    bench.step(num_repeats=5)

    assert seq.num_generated == 1


def large(limits: SchedulerLimits) -> tuple[FakeBackend, Scheduler]:
    """Return a scheduler with room for whole tiles of prompts, and its backend."""
    backend = FakeBackend(2048)
    cache = PrefixCache(backend, num_slots=SLOTS, supply=CellSupply(2048))
    return backend, Scheduler(limits, cache)


def test_a_background_prompt_takes_no_more_than_a_slow_machine_computes() -> None:
    for is_background in (False, True):
        limits = SchedulerLimits(num_slots=SLOTS, num_cells=2048, step_tokens=1024, call_tokens=64)
        _, scheduler = large(limits)
        scheduler.add(
            Sequence(
                request_id=1, tokens=[*range(500)], max_tokens=600, is_background=is_background
            )
        )
        scheduler.admit()

        (chunk,) = scheduler.schedule(lambda *_: 1024, lambda _: {})

        assert chunk.num_tokens == (64 if is_background else 500)


def test_a_step_is_not_repeated_while_a_sequence_waits_for_a_slot() -> None:
    bench = Bench()
    for number in range(SLOTS + 1):
        bench.submit(number, [number], 9)
    bench.step()

    bench.step(num_repeats=5)

    assert len(bench.backend.steps) == 2


def test_a_repeated_step_that_finds_no_cells_is_planned_again() -> None:
    bench = Bench()
    seq = bench.submit(1, [1], 9)
    bench.step()
    bench.backend.refusals.add(bench.backend.num_calls + 2)

    bench.step(num_repeats=5)

    assert seq.finish is None
    assert seq.num_generated == 2
    bench.drain()
    assert seq.num_generated == 9


def test_a_repeated_step_that_is_broken_off_is_computed_again() -> None:
    bench = Bench()
    seq = bench.submit(1, [1], 9)
    bench.step()
    bench.backend.aborts.add(bench.backend.num_calls + 2)

    bench.step(num_repeats=3)

    assert seq.num_generated == 4
    bench.drain()
    assert seq.num_generated == 9


def test_whole_tiles_are_computed_with_what_decodes_where_attention_has_no_tiles() -> None:
    for mixes in (False, True):
        limits = SchedulerLimits(num_slots=SLOTS, num_cells=2048, mixes_tiles=mixes)
        backend, scheduler = large(limits)
        engine = Engine(backend, scheduler, pieces=PIECES, eog=frozenset())
        engine.submit(Sequence(request_id=1, tokens=[*range(500)], max_tokens=600))
        engine.step()
        engine.submit(Sequence(request_id=2, tokens=[7] * 300, max_tokens=400))
        engine.step()

        assert backend.steps[-1] == ([(1, 1), (2, 300)] if mixes else [(2, 300)])
