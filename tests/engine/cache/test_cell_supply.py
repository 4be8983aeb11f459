from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localrun.engine.cache.cell_supply import RETRY_S, CellSupply
from localrun.engine.params import FinishReason
from tests.engine.test_context_shift import EDGE, prompts, submit
from tests.engine.test_scheduler import CELLS, Bench, Guesser, both_kinds, mixes

if TYPE_CHECKING:
    from localrun.engine.cache.kv_cache import MemoryKind
    from tests.engine.test_scheduler import Mix, Prompt

STEP = 8


class Machine:
    """A machine with a number of free cells, and a clock."""

    def __init__(self, free_cells: int) -> None:
        self.free_cells = free_cells
        self.now = 0.0
        self.num_questions = 0

    def free_bytes(self) -> int:
        self.num_questions += 1
        return 2 * self.free_cells  # as much again must stay free

    def supply(self, num_reserved: int = CELLS) -> CellSupply:
        return CellSupply(
            num_reserved,
            cell_bytes=1,
            free_bytes=self.free_bytes,
            clock=lambda: self.now,
            step_cells=STEP,
        )


def test_a_supply_begins_small_and_grows_by_whole_steps_up_to_what_is_reserved() -> None:
    machine = Machine(free_cells=1000)
    supply = machine.supply(num_reserved=30)

    assert supply.num_cells == STEP
    assert [supply.grow_to(wanted) for wanted in (1, 8, 9, 17, 40)] == [8, 8, 16, 24, 30]
    assert supply.grow_to(1) == 30
    assert machine.num_questions == 3  # only for a growth


def test_memory_that_was_returned_is_asked_for_again() -> None:
    machine = Machine(free_cells=1000)
    supply = machine.supply(num_reserved=30)
    supply.grow_to(30)

    supply.shrink_to(3)

    assert supply.num_cells == STEP
    machine.free_cells = 0
    assert supply.grow_to(9) == STEP


def test_cells_that_have_memory_from_the_start_are_all_usable_at_once() -> None:
    supply = CellSupply(4096)

    assert supply.num_cells == 4096
    supply.shrink_to(1)
    assert supply.num_cells == 4096


def test_a_growth_without_free_memory_is_refused_and_tried_again_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = Machine(free_cells=STEP - 1)
    supply = machine.supply()

    with caplog.at_level(logging.WARNING):
        refused = [supply.grow_to(STEP + 1) for _ in range(3)]
    was_lacking = supply.lacks_memory
    machine.free_cells = STEP
    too_soon = supply.grow_to(STEP + 1)
    machine.now += RETRY_S

    assert (refused, was_lacking, too_soon) == ([STEP] * 3, True, STEP)
    assert machine.num_questions == 1
    assert len(caplog.records) == 1
    assert "stays at 8 of 64 cells" in caplog.text
    assert supply.grow_to(STEP + 1) == 2 * STEP
    assert not supply.lacks_memory


@both_kinds
@settings(max_examples=100, deadline=None)
@given(mixes, st.lists(st.integers(0, CELLS), min_size=1, max_size=20))
def test_any_mix_ends_with_the_same_tokens_however_much_memory_is_free(
    memory: MemoryKind, mix: Mix, free_cells: list[int]
) -> None:
    machine = Machine(0)
    supply = machine.supply()
    bench = Bench(memory=memory, supply=supply)
    sequences = [bench.submit(number, *request) for number, request in enumerate(mix)]

    def change(number: int) -> None:
        machine.free_cells = free_cells[number % len(free_cells)]
        machine.now += RETRY_S / 2
        if number:
            assert bench.cache.num_used_cells <= supply.num_cells <= CELLS

    bench.drain(change)

    for seq, (prompt, new) in zip(sequences, mix, strict=True):
        assert seq.tokens[len(prompt) :] == list(range(len(prompt), len(prompt) + new))
        assert seq.finish is FinishReason.LENGTH
    bench.check_end()


@settings(max_examples=50, deadline=None)
@given(
    mixes,
    st.lists(st.integers(0, CELLS), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=20),
    st.sets(st.integers(1, 60), max_size=6),
)
def test_drafts_and_aborts_change_no_token_while_the_cache_grows(
    mix: Mix, free_cells: list[int], guesses: list[tuple[int, int]], aborts: set[int]
) -> None:
    machine = Machine(0)
    bench = Bench(supply=machine.supply(), speculation=Guesser(guesses))
    bench.backend.aborts = aborts
    sequences = [bench.submit(number, *request) for number, request in enumerate(mix)]

    def change(number: int) -> None:
        machine.free_cells = free_cells[number % len(free_cells)]
        machine.now += RETRY_S / 2

    bench.drain(change)

    for seq, (prompt, new) in zip(sequences, mix, strict=True):
        assert seq.tokens[len(prompt) :] == list(range(len(prompt), len(prompt) + new))
    bench.check_end()


@both_kinds
@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(prompts, st.integers(1, 80), st.integers(0, EDGE)), min_size=1, max_size=5),
    st.lists(st.integers(0, CELLS), min_size=1, max_size=20),
)
def test_contexts_shift_while_the_cache_grows(
    memory: MemoryKind, mix: list[tuple[Prompt, int, int]], free_cells: list[int]
) -> None:
    machine = Machine(0)
    bench = Bench(memory=memory, supply=machine.supply())
    sequences = [submit(bench, number, *request) for number, request in enumerate(mix)]

    def change(number: int) -> None:
        machine.free_cells = free_cells[number % len(free_cells)]
        machine.now += RETRY_S / 2

    bench.drain(change)

    assert [seq.num_generated for seq in sequences] == [new for _, new, _ in mix]
    bench.check_end()


@both_kinds
def test_a_saved_prompt_is_restored_only_into_cells_that_have_memory(memory: MemoryKind) -> None:
    source, machine = Bench(memory=memory), Machine(0)
    tokens = source.submit(1, [1] * 20, 1).tokens[:20]
    source.drain()
    data = source.cache.export_run(tokens, 0)
    assert data is not None
    bench = Bench(memory=memory, supply=machine.supply())

    without_memory = bench.cache.import_run(tokens, 0, data)
    machine.free_cells, machine.now = CELLS, RETRY_S
    with_memory = bench.cache.import_run(tokens, 0, data)

    assert (without_memory, with_memory) == (False, True)
    assert bench.cache.num_cached_tokens(tokens) == 20


@pytest.mark.parametrize("free_cells", [0, CELLS])
@both_kinds
def test_without_memory_requests_wait_for_each_other_and_with_it_they_run_together(
    memory: MemoryKind, free_cells: int
) -> None:
    bench = Bench(memory=memory, supply=Machine(free_cells).supply())
    sequences = [bench.submit(number, [number] * 6, 10) for number in range(3)]
    most_together = 0

    while bench.engine.has_work:
        bench.step()
        most_together = max(most_together, len(bench.scheduler.running))

    assert most_together == (3 if free_cells else 1)
    assert all(seq.finish is FinishReason.LENGTH for seq in sequences)
    assert bench.cache.supply.lacks_memory is not bool(free_cells)


@both_kinds
def test_the_youngest_is_preempted_if_no_memory_is_free_for_both(memory: MemoryKind) -> None:
    machine = Machine(CELLS)
    bench = Bench(memory=memory, supply=machine.supply())
    sequences = [bench.submit(number, [number] * 6, 20) for number in range(2)]
    bench.step()
    machine.free_cells, num_cells = 0, bench.cache.supply.num_cells

    while len(bench.scheduler.running) > 1:
        assert bench.cache.supply.num_cells == num_cells
        bench.step()
    num_generated = [seq.num_generated for seq in sequences]
    bench.drain()

    assert num_cells < CELLS
    assert all(0 < number < 20 for number in num_generated)
    assert [seq.num_generated for seq in sequences] == [20, 20]


@both_kinds
def test_a_request_that_runs_alone_gets_all_cells_whatever_is_free(memory: MemoryKind) -> None:
    bench = Bench(memory=memory, supply=Machine(0).supply())
    seq = bench.submit(1, [1] * 20, CELLS - 20)

    bench.drain()

    assert seq.num_generated == CELLS - 20
    assert bench.cache.supply.num_cells == CELLS


@both_kinds
def test_a_cache_grows_before_it_evicts_a_prefix(memory: MemoryKind) -> None:
    bench = Bench(memory=memory, supply=Machine(CELLS).supply())
    first = bench.submit(1, [1] * 20, 2)
    bench.drain()
    bench.submit(2, [2] * 20, 2)
    bench.drain()

    again = bench.submit(3, [*first.tokens, 9], 1)
    bench.drain()

    assert again.num_cached == 21
