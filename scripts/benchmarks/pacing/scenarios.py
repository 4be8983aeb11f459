"""Scenarios of the simulation: bursts with a computable ideal, and random crowds of readers."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.pacing.simulation import Arrival

if TYPE_CHECKING:
    from benchmarks.pacing.costs import CallCosts

LONG_PROMPT = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Equal requests that arrive together, or one shortly after the other."""

    name: str
    count: int
    arrival: Arrival
    is_warm: bool = False
    gap_s: float = 0.0  # between arrivals

    @property
    def arrivals(self) -> list[Arrival]:
        """Return the requests."""
        return [replace(self.arrival, at_s=place * self.gap_s) for place in range(self.count)]

    def without_readers(self) -> Burst:
        """Return the burst of requests that do not stream."""
        return replace(self, arrival=replace(self.arrival, is_read=False))

    def ideal_s(self, costs: CallCosts) -> float:
        """Return the seconds of all prompts alone, and of all answers decoded together."""
        arrival = self.arrival
        num_own = arrival.num_prompt - arrival.num_shared
        prompts = self.count * costs.prompt_seconds(num_own, arrival.num_shared)
        if not self.is_warm:
            prompts += costs.prompt_seconds(arrival.num_shared)
        lengths = range(arrival.num_prompt, arrival.num_prompt + arrival.num_new - 1)
        return prompts + sum(costs.decoding_seconds([length] * self.count) for length in lengths)


BURSTS = (
    Burst(name="16 x 40", count=16, arrival=Arrival(num_prompt=40, num_new=48)),
    Burst(
        name="16 x 40, 20 ms apart",
        count=16,
        arrival=Arrival(num_prompt=40, num_new=48),
        gap_s=0.02,
    ),
    Burst(name="4 x 1,200", count=4, arrival=Arrival(num_prompt=1200, num_new=32)),
    Burst(name="4 x 1,200, long answers", count=4, arrival=Arrival(num_prompt=1200, num_new=400)),
    Burst(name="4 x 2,500", count=4, arrival=Arrival(num_prompt=2500, num_new=48)),
    Burst(
        name="16 x 800, 720 shared, cold",
        count=16,
        arrival=Arrival(num_prompt=800, num_new=8, num_shared=720),
    ),
    Burst(
        name="16 x 800, 720 shared, warm",
        count=16,
        arrival=Arrival(num_prompt=800, num_new=8, num_shared=720),
        is_warm=True,
    ),
)


def long_prompt_beside_stream(begun_s: float, num_new: int = 2000) -> list[Arrival]:
    """Return a stream, and a long prompt that arrives ``begun_s`` seconds later."""
    return [
        Arrival(num_prompt=40, num_new=num_new),
        Arrival(num_prompt=LONG_PROMPT, num_new=1, at_s=begun_s),
    ]


def crowd(seed: int, *, num_requests: int = 12, gap_s: float = 6.0) -> list[Arrival]:
    """Return random requests of readers: most prompts are short, some are long."""
    rng = random.Random(seed)
    arrivals, at_s = [], 0.0
    for _ in range(num_requests):
        at_s += rng.expovariate(1 / gap_s)
        arrivals.append(
            Arrival(
                num_prompt=min(4000, 20 + int(rng.lognormvariate(5.0, 1.3))),
                num_new=min(400, 10 + int(rng.lognormvariate(4.0, 0.8))),
                at_s=at_s,
            )
        )
    return arrivals
