"""Whether drafts save time, on machines whose steps take an exact time."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from localrun.engine.speculation.draft_budget import DraftBudget
from localrun.engine.speculation.draft_plan import DraftOption, DraftPlanner, PlannedDraft
from localrun.engine.speculation.step_times import StepTimes
from localrun.hardware.mtp import MTP_ROLLBACK
from tests.engine.speculation.sequences import decoding

STEP_S = 0.01
MOST = 32
Cost = Callable[[int], float]


def processor(num_drafts: int) -> float:
    return STEP_S * (1 + 0.5 * num_drafts)


def accelerator(num_drafts: int) -> float:
    return STEP_S * (1 + 0.02 * num_drafts)


class Machine:
    """A planner over one source for each acceptance rate, and its times."""

    def __init__(self, num_sources: int = 1) -> None:
        self.times = StepTimes()
        self.budgets = [DraftBudget() for _ in range(num_sources)]
        self.planner = DraftPlanner(self.times, self.budgets)

    def plan(
        self, *candidates: list[DraftOption], longest: int = MOST, most: int = MOST
    ) -> list[PlannedDraft | None]:
        sequences = decoding(len(candidates))
        wanted = {seq: found for seq, found in zip(sequences, candidates, strict=True) if found}
        limits = dict.fromkeys(sequences, longest)
        planned = self.planner.plan(len(sequences), wanted, limits, most)
        return [planned.get(seq) for seq in sequences]


def speed(
    cost: Cost, share: float, acceptance: float, *, streams: int = 1, tokens: int = 2000
) -> float:
    """Return how many times faster than without drafts the tokens of a stream come.

    A draft token is accepted with the probability ``share``; the source expects ``acceptance``.
    """
    machine, rng = Machine(), random.Random(1)  # noqa: S311 - only a test
    spent_s, done = 0.0, 0.0
    while done < tokens:
        planned = [
            draft for draft in machine.plan(*[[DraftOption(0, acceptance)]] * streams) if draft
        ]
        if not planned:
            machine.times.record(streams, 0, STEP_S)
            machine.budgets[0].add_income()
            spent_s, done = spent_s + STEP_S, done + 1
            continue
        drafts = sum(draft.length for draft in planned)
        right = sum(_first_right(rng, share, draft.length) for draft in planned)
        machine.times.record(streams, drafts, cost(drafts))
        machine.budgets[0].settle(machine.times.price(streams, drafts), right / streams)
        spent_s, done = spent_s + cost(drafts), done + 1 + right / streams
    return done * STEP_S / spent_s


def _first_right(rng: random.Random, share: float, length: int) -> int:
    for place in range(length):
        if rng.random() >= share:
            return place
    return length


@pytest.mark.parametrize("cost", [processor, accelerator])
@pytest.mark.parametrize("streams", [1, 4, 16])
@pytest.mark.parametrize("acceptance", [0.7, 0.95])
def test_rejected_drafts_cost_little(cost: Cost, streams: int, acceptance: float) -> None:
    assert speed(cost, 0.0, acceptance, streams=streams) > 0.98


@pytest.mark.parametrize(("cost", "least"), [(processor, 1.3), (accelerator, 6.0)])
def test_accepted_drafts_save_time(cost: Cost, least: float) -> None:
    assert speed(cost, 0.97, 0.9) > least


def test_many_streams_draft_only_if_steps_have_spare_compute() -> None:
    assert speed(accelerator, 0.97, 0.9, streams=8) > 1.5
    assert speed(processor, 0.97, 0.9, streams=8) > 0.98


def test_a_price_that_was_measured_too_high_is_tried_again() -> None:
    machine = Machine()
    machine.times.record(1, 0, STEP_S)
    for length in (1, 3, 7, 15):
        machine.times.record(1, length, 100 * STEP_S)

    lengths = []
    for _ in range(3000):
        lengths.append(machine.plan([DraftOption(0, 0.95)])[0])
        machine.times.record(1, 0, STEP_S)
        machine.budgets[0].add_income()

    assert lengths[0] is None
    assert any(lengths)


def test_a_price_that_is_only_too_high_for_the_balance_stays_trusted() -> None:
    machine = Machine()
    machine.times.record(1, 0, STEP_S)
    machine.times.record(1, 15, 5 * STEP_S)
    machine.budgets[0].settle(price=machine.budgets[0].balance, saved=0)

    for _ in range(1000):
        assert machine.plan([DraftOption(0, 0.95)]) == [None]

    assert machine.times.price(1, 15) == pytest.approx(4)


def test_a_price_that_prevents_drafts_leaves_the_times_of_more_sequences() -> None:
    machine = Machine()
    machine.times.record(4, 0, 2 * STEP_S)
    machine.times.record(4, 4, 3 * STEP_S)
    machine.times.record(1, 0, STEP_S)

    for _ in range(1000):
        machine.plan([DraftOption(0, 0.1)])

    assert machine.times.plain_s(4) == 2 * STEP_S
    assert machine.times.price(4, 4) == pytest.approx(0.5)
    assert machine.times.price(1, 3) == pytest.approx(0.999**1000)


def test_a_price_that_is_measured_again_is_trusted() -> None:
    machine = Machine()
    machine.times.record(1, 0, STEP_S)
    machine.times.record(1, 1, 2 * STEP_S)
    for _ in range(10_000):
        machine.plan([DraftOption(0, 0.1)])

    machine.times.record(1, 1, 1.5 * STEP_S)

    assert machine.times.price(1, 1) == pytest.approx(0.5, abs=0.01)


def test_nothing_is_drafted_before_a_plain_step_was_measured() -> None:
    assert Machine().plan([DraftOption(0, 1.0)]) == [None]


def test_each_sequence_drafts_from_the_source_that_saves_it_the_most() -> None:
    machine = Machine(num_sources=2)
    machine.times.record(2, 0, STEP_S)

    planned = machine.plan(
        [DraftOption(0, 0.9), DraftOption(1, 0.5)], [DraftOption(0, 0.5), DraftOption(1, 0.9)]
    )

    assert [draft and draft.source for draft in planned] == [0, 1]


def test_a_source_that_takes_long_to_draft_gives_way_to_one_that_does_not() -> None:
    machine = Machine(num_sources=2)
    machine.times.record(1, 0, STEP_S)
    machine.budgets[1].record_drafting(1, STEP_S / 2)

    (draft,) = machine.plan([DraftOption(0, 0.8), DraftOption(1, 0.85)])

    assert draft is not None
    assert draft.source == 0


def test_a_sequence_whose_drafts_are_rejected_does_not_draft_beside_another() -> None:
    machine = Machine()
    machine.times.record(2, 0, STEP_S)
    for num_drafts in (1, 2, 3, 7, 15, 31):
        machine.times.record(2, num_drafts, STEP_S * (1 + 0.2 * num_drafts))

    good, bad = machine.plan([DraftOption(0, 0.97)], [DraftOption(0, 0.2)])

    assert good is not None
    assert bad is None


def test_all_drafts_of_a_step_fit_its_outputs() -> None:
    machine = Machine()
    machine.times.record(3, 0, STEP_S)

    planned = machine.plan(*[[DraftOption(0, 0.99)]] * 3, most=15)

    assert 0 < sum(draft.length for draft in planned if draft) <= 15


def test_a_sequence_drafts_as_many_tokens_as_a_hybrid_model_takes_back() -> None:
    machine = Machine()
    machine.times.record(1, 0, STEP_S)

    assert machine.plan([DraftOption(0, 0.95)], longest=MTP_ROLLBACK) == [
        PlannedDraft(0, MTP_ROLLBACK)
    ]


def test_a_source_without_balance_does_not_draft() -> None:
    machine = Machine()
    machine.times.record(1, 0, STEP_S)
    machine.budgets[0].settle(price=100, saved=0)

    assert machine.plan([DraftOption(0, 1.0)]) == [None]
