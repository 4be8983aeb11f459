"""Rotation of adapter sets: which of the running sequences the next step computes.

A step computes sequences of one adapter set. The sets of running sequences take turns in a
circle; new sets join at its end, so each waits for at most one turn of every other. A change
of the set makes llama.cpp plan its graph again: measured for 4 streams, 0.8 ms beside a step
of 0.7 ms on a model of 6 million parameters, 4 ms beside 78 on one of 600 million. So a turn
lasts many steps of a fast model and few of a slow one, which keeps the other streams smooth;
it lasts one step while a prompt is computed.
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
    """Circle of adapter sets; the first one has the turn."""

    def __init__(self) -> None:
        self._circle: list[AdapterSet] = []
        self._num_steps = 0  # of this turn
        self._seconds = 0.0  # of this turn

    def select(self, running: Sequences[Sequence]) -> list[Sequence]:
        """Return the running sequences of the set that has the turn, in their order."""
        present = dict.fromkeys(seq.adapters for seq in running)
        if len(present) == 1 and self._circle == [*present]:
            return list(running)
        before = self._circle[:1]
        self._circle = [known for known in self._circle if known in present]
        self._circle += [new for new in present if new not in self._circle]
        if self._circle[:1] != before:
            self._start_turn()
        return [seq for seq in running if seq.adapters == self._circle[0]]

    def record_step(self, seconds: float, *, is_last_of_turn: bool) -> None:
        """Record a step, and pass the turn on if it is over."""
        self._num_steps += 1
        self._seconds += seconds
        if is_last_of_turn or self._num_steps >= TURN_STEPS or self._seconds >= TURN_S:
            self._circle = self._circle[1:] + self._circle[:1]
            self._start_turn()

    def _start_turn(self) -> None:
        self._num_steps, self._seconds = 0, 0.0
