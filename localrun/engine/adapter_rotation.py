"""Whose turn it is among sequences of different adapter sets.

A step computes one set. Those that run take turns, in a circle that newcomers join at its
end, so each waits for at most one turn of every other. A change of the set costs llama.cpp
a new plan of its graph: measured for 4 streams, 0.8 ms beside a step of 0.7 ms on a model
of 6 million parameters, 4 beside 78 on one of 600 million. So turns of fast models last
many steps, those of slow ones few, lest the others stumble; and one step while a prompt is
computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    from localrun.engine.llama.lora_adapters import AdapterSet
    from localrun.engine.sequence import Sequence

TURN_STEPS = 16  # at most; with 2 sets, 8 streams of the small model keep 0.9 of their speed
TURN_S = 0.03  # or as many steps as this takes


class AdapterRotation:
    """The circle of sets; the first has the turn."""

    def __init__(self) -> None:
        self._circle: list[AdapterSet] = []
        self._num_steps = 0  # of this turn so far, as the next
        self._seconds = 0.0

    def of(self, running: Sequences[Sequence]) -> list[Sequence]:
        """Return those of the running sequences whose turn it is, in their order."""
        present = dict.fromkeys(seq.adapters for seq in running)
        before = self._circle[:1]
        self._circle = [known for known in self._circle if known in present]
        self._circle += [new for new in present if new not in self._circle]
        if self._circle[:1] != before:
            self._begin()
        return [seq for seq in running if seq.adapters == self._circle[0]]

    def spend(self, seconds: float, *, is_short: bool) -> None:
        """Count a step; it is the next one's turn when this was the last of the turn."""
        self._num_steps += 1
        self._seconds += seconds
        if is_short or self._num_steps >= TURN_STEPS or self._seconds >= TURN_S:
            self._circle = self._circle[1:] + self._circle[:1]
            self._begin()

    def _begin(self) -> None:
        self._num_steps, self._seconds = 0, 0.0
