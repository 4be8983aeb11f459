"""Checkpoint policy: after which tokens of a prompt the state is saved.

    system <end> question <end> answer <end> question <end> <assistant>
                ^                           ^              ^
    common to many chats           another question    another answer

A chunk of the prompt ends at each position, so positions are few: three in the prompt of a
short chat, one more every `MAX_DISTANCE_TOKENS` in a long one. At least one token of the
prompt follows the last position. No position is inside a medium.
"""

from __future__ import annotations

from bisect import insort
from itertools import pairwise
from typing import TYPE_CHECKING

from localrun.prefixes import border_before

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

MIN_DISTANCE_TOKENS = 16  # so few tokens are computed faster than a copy is made
MAX_DISTANCE_TOKENS = 512  # the most that is computed again


class CheckpointPolicy:
    """Positions of the checkpoints that one sequence has not reached yet."""

    def __init__(self, tokens: Sequences[int], start: int, message_ends: frozenset[int]) -> None:
        """``start`` tokens are already computed; ``message_ends`` are tokens."""
        is_long = len(tokens) >= MIN_DISTANCE_TOKENS
        self._positions = _positions(tokens, start, message_ends) if is_long else []

    @property
    def next(self) -> int | None:
        """Return the next position, or None if no checkpoint is left."""
        return self._positions[0] if self._positions else None

    @property
    def upcoming(self) -> tuple[int, ...]:
        """Return all positions, ascending."""
        return tuple(self._positions)

    def add(self, position: int) -> None:
        """Add a position, unless there is one shortly before it."""
        if not any(position - MIN_DISTANCE_TOKENS < known <= position for known in self._positions):
            insort(self._positions, position)

    def reach(self, position: int) -> bool:
        """Return whether a checkpoint is due at a position, and remove it from the list."""
        if self.next != position:
            return False
        del self._positions[0]
        return True


def _positions(tokens: Sequences[int], start: int, message_ends: frozenset[int]) -> list[int]:
    borders = [position for position, token in enumerate(tokens, 1) if token in message_ends]
    borders = [position for position in borders if position < len(tokens)]
    last = len(tokens) - 1  # for the same prompt once more
    if borders and len(tokens) - borders[-1] <= MIN_DISTANCE_TOKENS:
        last = borders[-1]  # serves the next turn as well, in which this answer may be rewritten
    wanted = {*borders[:1], *borders[-2:], last}
    ends = _apart([start, *sorted(position for position in wanted if position > start)])
    between = [position for pair in pairwise(ends) for position in _steps(*pair, borders)]
    whole = {border_before(tokens, position) for position in (*ends[1:], *between)}
    return sorted(position for position in whole if position > start)


def _apart(positions: Sequences[int]) -> list[int]:
    """Return the first and the last position, and those between that are not too close."""
    kept = [positions[0]]
    for position in positions[1:-1]:
        if position - kept[-1] >= MIN_DISTANCE_TOKENS:
            kept.append(position)
    return kept + [*positions[1:]][-1:]


def _steps(first: int, last: int, borders: Sequences[int]) -> list[int]:
    """Return positions between two, not too far apart and at borders of messages if possible."""
    steps: list[int] = []
    while last - first >= MAX_DISTANCE_TOKENS + MIN_DISTANCE_TOKENS:
        near = [
            border
            for border in borders
            if MAX_DISTANCE_TOKENS < 2 * (border - first) <= 2 * MAX_DISTANCE_TOKENS
        ]
        first = near[-1] if near else first + MAX_DISTANCE_TOKENS
        steps.append(first)
    return steps
