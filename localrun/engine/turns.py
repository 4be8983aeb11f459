"""Whose turn it is among sequences of different adapter sets.

A step computes one set. Those that run take turns, in a circle that newcomers join at its
end, so each waits for at most one turn of every other. Changing the set costs about half a
step on a small model, so a turn lasts several steps; while a prompt is computed it lasts
one, since such steps are long for those who wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    from localrun.engine.adapters import AdapterSet
    from localrun.engine.sequence import Sequence

TURN_STEPS = 8


class Turns:
    """The circle of sets; the first has the turn."""

    def __init__(self) -> None:
        self._circle: list[AdapterSet] = []
        self._num_steps = 0  # of this turn so far

    def of(self, running: Sequences[Sequence]) -> list[Sequence]:
        """Return those of the running sequences whose turn it is, in their order."""
        present = dict.fromkeys(seq.adapters for seq in running)
        before = self._circle[:1]
        self._circle = [known for known in self._circle if known in present]
        self._circle += [new for new in present if new not in self._circle]
        if self._circle[:1] != before:
            self._num_steps = 0
        return [seq for seq in running if seq.adapters == self._circle[0]]

    def spend(self, *, is_short: bool) -> None:
        """Count a step; the turn goes on to the next when it was the last."""
        self._num_steps += 1
        if self._num_steps >= (1 if is_short else TURN_STEPS):
            self._circle = self._circle[1:] + self._circle[:1]
            self._num_steps = 0
