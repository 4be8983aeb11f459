"""How near the policy comes to the best fixed draft length, on a machine with measured costs."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from localrun.engine.cache.kv_cache import CellLayout
from localrun.engine.scheduler import ScheduledChunk
from localrun.engine.speculation.draft_plan import LENGTHS
from localrun.engine.speculation.speculator import MAX_DRAFTS, Speculator
from tests.engine.speculation.sequences import decoding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.engine.sequence import Sequence

# milliseconds of a step by its width: a random 0.6B in Q4_K_M on two threads
COSTS_MS = {1: 14.4, 2: 25.5, 3: 32.4, 4: 42, 5: 49.4, 6: 55.6, 8: 59, 12: 73, 16: 74, 48: 200}
STEPS_OF_ANSWER = 100
TOKENS = 2000  # of each stream


def cost(width: int) -> float:
    below = max(known for known in COSTS_MS if known <= width)
    above = min(known for known in COSTS_MS if known >= width)
    share = (width - below) / (above - below) if above > below else 0.0
    return COSTS_MS[below] + share * (COSTS_MS[above] - COSTS_MS[below])


class Source:
    """Drafts anything."""

    name = "source"

    def __init__(self, *, estimates_by_text: bool) -> None:
        self.estimates_by_text = estimates_by_text
        self.num_asked = 0

    def acceptance(self, seq: Sequence) -> float | None:
        self.num_asked += 1
        return 0.9 if seq.tokens else None

    def drafts(self, lengths: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        return {seq: (1,) * length for seq, length in lengths.items()}

    def retire(self, seq: Sequence) -> None:
        """Nothing is kept."""


class Machine:
    """A policy, and the steps that its drafts need."""

    def __init__(self, *, estimates_by_text: bool = False, planning_s: float = 0.0) -> None:
        self.source = Source(estimates_by_text=estimates_by_text)
        self._policy = Speculator([self.source], clock=itertools.count(0, planning_s).__next__)
        self._rng = random.Random(3)  # noqa: S311 - only a test

    def speedup(self, streams: int, rate: float, num_tokens: int = TOKENS) -> float:
        """Return the speedup of answers whose draft tokens are accepted at a rate.

        ``num_tokens`` are those of each stream.
        """
        sequences, spent_ms, num_done, num_steps = decoding(streams), 0.0, 0, 0
        while num_done < num_tokens * streams:
            drafts = self._policy.propose(sequences)
            chunks = [ScheduledChunk(seq, 1, drafts.get(seq, ())) for seq in sequences]
            accepted = [_num_accepted(self._rng, rate, len(chunk.drafts)) for chunk in chunks]
            step_ms = cost(sum(chunk.num_cells for chunk in chunks)) * self._rng.uniform(0.97, 1.03)
            sampled = [[1] * (count + 1) for count in accepted]
            self._policy.record_step(chunks, sampled, step_ms / 1000)
            spent_ms, num_done = spent_ms + step_ms, num_done + sum(accepted) + streams
            num_steps += 1
            if num_steps % STEPS_OF_ANSWER == 0 or num_done >= num_tokens * streams:
                for seq in sequences:
                    self._policy.retire(seq)
                sequences = decoding(streams)
        return num_done / spent_ms * cost(streams) / streams


def limit(streams: int, rate: float) -> float:
    """Return the best speedup of a fixed length."""
    return max(
        sum(rate**n for n in range(length + 1)) * cost(streams) / cost(streams * (length + 1))
        for length in (0, *LENGTHS)
        if length * streams <= MAX_DRAFTS
    )


def _num_accepted(rng: random.Random, rate: float, length: int) -> int:
    return next((n for n in range(length) if rng.random() >= rate), length)


@pytest.mark.parametrize("streams", [1, 4, 16])
@pytest.mark.parametrize("rate", [0, 0.5, 0.7, 0.9, 0.95])
def test_the_policy_reaches_most_of_the_limit(streams: int, rate: float) -> None:
    assert Machine().speedup(streams, rate) > 0.9 * limit(streams, rate)


@pytest.mark.parametrize("streams", [1, 4, 16])
def test_drafts_that_are_never_accepted_cost_hardly_anything(streams: int) -> None:
    assert Machine().speedup(streams, 0) > 0.98


@pytest.mark.parametrize("streams", [2, 4, 8])
def test_long_text_of_one_stream_leaves_the_policy_of_more_streams(streams: int) -> None:
    machine = Machine(estimates_by_text=True)
    machine.speedup(streams, 0.95)
    machine.speedup(1, 0, num_tokens=20_000)

    assert machine.speedup(streams, 0.95, num_tokens=100) > 0.9 * limit(streams, 0.95)


def test_plans_without_drafts_take_a_hundredth_of_the_time() -> None:
    machine = Machine(estimates_by_text=True, planning_s=0.001)
    machine.speedup(1, 0)
    num_asked = machine.source.num_asked

    assert num_asked < TOKENS / 6
    assert machine.speedup(1, 0.95) > 0.8 * limit(1, 0.95)
    assert machine.source.num_asked - num_asked > TOKENS / 30


def test_a_new_answer_is_planned_for_at_once() -> None:
    machine = Machine(estimates_by_text=True, planning_s=1.0)
    machine.speedup(1, 0, num_tokens=60)
    num_asked = machine.source.num_asked

    machine.speedup(1, 0, num_tokens=1)

    assert machine.source.num_asked == num_asked + 1


def test_each_layout_of_the_cells_has_its_own_times() -> None:
    policy = Speculator([Source(estimates_by_text=True)], clock=itertools.count(0, 0).__next__)
    sequences = decoding(1)

    def num_drafted(extra_ms: float) -> int:
        """Return how many tokens are drafted in 50 steps with so dear draft tokens."""
        count = 0
        for _ in range(50):
            drafts = policy.propose(sequences).get(sequences[0], ())
            chunk = ScheduledChunk(sequences[0], 1, drafts)
            seconds = (10 + extra_ms * len(drafts)) / 1000
            policy.record_step([chunk], [[1] * (len(drafts) + 1)], seconds)
            count += len(drafts)
        return count

    num_drafted(20)
    assert num_drafted(20) < 5
    policy.enter_layout(CellLayout.TRANSPOSED)
    assert num_drafted(1) > 100
    policy.enter_layout(CellLayout.UNIFIED)
    assert num_drafted(20) < 5
