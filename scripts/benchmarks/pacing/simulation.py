"""Simulation of the engine: its scheduler, pacing and prefix cache on a clock that calls advance.

Everything but llama.cpp is real: `Engine`, `Scheduler` and `PrefixCache`. A call computes nothing
and takes the seconds that `CallCosts` states, so a burst of minutes is simulated in milliseconds.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.pacing.costs import Work
from benchmarks.readers import READING_SPEED, percentile, reader_waits
from localrun.engine.cache.cell_supply import CellSupply
from localrun.engine.cache.prefix_cache import PrefixCache
from localrun.engine.engine import Engine
from localrun.engine.pacing.reader import AnswerReader
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.sequence import Sequence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.pacing.costs import CallCosts
    from localrun.engine.scheduler import ScheduledChunk

BEGINNING_S = 1.0  # of the clock: the engine takes 0 for "not yet"
FIRST_OWN_TOKEN = 1_000_000  # of a request: tokens below are those of shared prefixes
GENERATED_TOKEN = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A request; the first ``num_shared`` tokens of its prompt are those of all others."""

    num_prompt: int
    num_new: int
    at_s: float = 0.0
    num_shared: int = 0
    is_read: bool = True  # streamed to a reader


@dataclass(slots=True)
class Answer:
    """What a request met: the times of its tokens, in seconds since the beginning."""

    arrival: Arrival
    token_times: list[float] = field(default_factory=list)

    @property
    def first_s(self) -> float:
        """Return the time from the arrival to the first token."""
        return self.token_times[0] - self.arrival.at_s

    @property
    def waits(self) -> list[float]:
        """Return how long the reader waits for each token behind the first."""
        return reader_waits(self.token_times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A call of llama.cpp: what it computed, and how long it took."""

    num_decoding: int
    num_prompt: int  # tokens
    num_pending: int  # prompt tokens of all running sequences before the call
    num_readers: int  # of streams that were decoding before the call, whether it has them or not
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answers of a scenario in the order of their arrivals."""

    answers: tuple[Answer, ...]
    steps: tuple[Step, ...]

    @property
    def wall_s(self) -> float:
        """Return the seconds until the last token."""
        return max(answer.token_times[-1] for answer in self.answers)

    @property
    def first_p50_s(self) -> float:
        """Return the median of the times to the first token."""
        return statistics.median(answer.first_s for answer in self.answers)

    @property
    def first_p95_s(self) -> float:
        """Return the 95th percentile of the times to the first token."""
        return percentile([answer.first_s for answer in self.answers], 0.95)

    @property
    def reader_wait_s(self) -> float:
        """Return how long the readers wait behind their first tokens, all together."""
        return sum(sum(answer.waits) for answer in self.answers if answer.arrival.is_read)

    @property
    def longest_wait_s(self) -> float:
        """Return the longest wait of a reader for one token."""
        waits = [wait for answer in self.answers if answer.arrival.is_read for wait in answer.waits]
        return max(waits, default=0.0)

    @property
    def felt_s(self) -> float:
        """Return how long a person waits on average: for the first token, then while reading."""
        first = sum(answer.first_s for answer in self.answers)
        return (first + self.reader_wait_s) / len(self.answers)


def simulate(
    arrivals: Iterable[Arrival],
    costs: CallCosts,
    *,
    num_slots: int = 16,
    num_cells: int = 20480,
    is_warm: bool = False,
    max_steps: int = 1_000_000,
) -> Outcome:
    """Return what the requests meet; ``is_warm``: the shared prefix is cached at the beginning."""
    ordered = sorted(arrivals, key=lambda arrival: arrival.at_s)
    world = _World(costs, num_slots, num_cells)
    num_shared = max(arrival.num_shared for arrival in ordered) if is_warm else 0
    world.prepare(Arrival(num_prompt=num_shared + 20, num_new=8, num_shared=num_shared))
    return world.run(ordered, max_steps)


class _Clock:
    def __init__(self) -> None:
        self.now = BEGINNING_S

    def __call__(self) -> float:
        return self.now


class _NoMemory:
    """Takes the place of llama.cpp's cells, which the simulated calls do not need."""

    def copy_cells(self, source: int, target: int, start: int, end: int) -> None:
        pass

    def remove_cells(self, seq_id: int, start: int, end: int) -> None:
        pass

    def save_sequence(self, seq_id: int) -> bytes:  # noqa: ARG002 - nothing to save
        return b""

    def restore_sequence(self, seq_id: int, data: bytes) -> bool:  # noqa: ARG002
        return False

    def save_state(self, slot: int) -> memoryview:  # noqa: ARG002
        return memoryview(b"")

    def restore_state(self, slot: int, data: memoryview) -> bool:  # noqa: ARG002
        return False


class _Backend:
    """Advances the clock by the cost of each call."""

    def __init__(self, costs: CallCosts, clock: _Clock, cache: PrefixCache) -> None:
        self._costs = costs
        self._clock = clock
        self._cache = cache
        self._open: set[Sequence] = set()
        self.steps: list[Step] = []

    def forward(self, chunks: list[ScheduledChunk]) -> list[list[int]]:
        works = [
            Work(
                chunk.seq.num_computed,
                chunk.num_tokens,
                is_prompt=not chunk.seq.is_decoding,
                has_output=chunk.is_last,
            )
            for chunk in chunks
        ]
        seconds = self._costs.seconds(works, self._cache.num_used_cells)
        prompts = [seq for seq in self._open if seq.slot is not None and not seq.is_decoding]
        step = Step(
            num_decoding=sum(not work.is_prompt for work in works),
            num_prompt=sum(work.num_tokens for work in works if work.is_prompt),
            num_pending=sum(seq.num_pending for seq in prompts),
            num_readers=sum(seq.reader is not None and seq.is_decoding for seq in self._open),
            seconds=seconds,
        )
        self.steps.append(step)
        self._clock.now += seconds
        return [[GENERATED_TOKEN] for chunk in chunks if chunk.is_last]

    def prepare(self, seq: Sequence) -> None:
        self._open.add(seq)

    def retire(self, seq: Sequence) -> None:
        self._open.discard(seq)


class _World:
    """An engine and its clock."""

    def __init__(self, costs: CallCosts, num_slots: int, num_cells: int) -> None:
        limits = SchedulerLimits(num_slots=num_slots, num_cells=num_cells)
        supply = CellSupply(num_cells)
        cache = PrefixCache(_NoMemory(), num_slots=num_slots, supply=supply, host_cache_bytes=0)
        self.clock = _Clock()
        self._backend = _Backend(costs, self.clock, cache)
        self._engine = Engine(
            self._backend,
            Scheduler(limits, cache),
            pieces=[b"", b"x"],
            eog=frozenset(),
            clock=self.clock,
        )
        self._begun_at = self.clock.now

    def prepare(self, arrival: Arrival) -> None:
        """Answer a request before the beginning, so that costs are known and prefixes cached."""
        self._submit(0, arrival)
        while self._engine.has_work:
            self._engine.step()
        self._backend.steps.clear()
        self._begun_at = self.clock.now

    def run(self, ordered: list[Arrival], max_steps: int) -> Outcome:
        """Submit the requests at their times; return their answers when all have ended."""
        answers = [Answer(arrival) for arrival in ordered]
        num_submitted = 0
        for _ in range(max_steps):
            while num_submitted < len(ordered) and self._has_come(ordered[num_submitted]):
                num_submitted += 1
                self._submit(num_submitted, ordered[num_submitted - 1])
            if self._engine.has_work:
                for output in self._engine.step():
                    since_s = self.clock.now - self._begun_at
                    answers[output.seq.request_id - 1].token_times.append(since_s)
            elif num_submitted < len(ordered):
                self.clock.now = self._begun_at + ordered[num_submitted].at_s
            else:
                return Outcome(tuple(answers), tuple(self._backend.steps))
        raise AssertionError(f"{max_steps} steps do not end the scenario")

    def _has_come(self, arrival: Arrival) -> bool:
        return self.clock.now >= self._begun_at + arrival.at_s

    def _submit(self, request_id: int, arrival: Arrival) -> None:
        own = FIRST_OWN_TOKEN * (request_id + 1)
        num_own = arrival.num_prompt - arrival.num_shared
        tokens = [*range(2, 2 + arrival.num_shared), *range(own, own + num_own)]
        seq = Sequence(
            request_id=request_id,
            tokens=tokens,
            max_tokens=arrival.num_prompt + arrival.num_new,
            submitted_at=self._begun_at + arrival.at_s,
            reader=AnswerReader(1 / READING_SPEED) if arrival.is_read else None,
        )
        self._engine.submit(seq)
