"""After which tokens of a prompt a copy of the state is worth it.

    system <end> question <end> answer <end> question <end> <assistant>
                ^                           ^              ^
    common to many chats           another question    another answer

A row of a step ends at each, so they are few: a prompt of a short chat has three, a long
one another every `MOST_TOKENS`. The last leaves something of the prompt to be computed.
"""

from __future__ import annotations

from bisect import insort
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

LEAST_TOKENS = 16  # between two places: what is computed in no time is not worth a copy
MOST_TOKENS = 512  # between two: so much is computed again at most


class CheckpointPolicy:
    """Those of one sequence that are still to come."""

    def __init__(self, tokens: Sequences[int], start: int, ends: frozenset[int]) -> None:
        """``start`` tokens are computed already; ``ends`` are the tokens that end a message."""
        self._places = _places(tokens, start, ends) if len(tokens) >= LEAST_TOKENS else []

    @property
    def next(self) -> int | None:
        """Return the first one, None when there is none."""
        return self._places[0] if self._places else None

    @property
    def coming(self) -> tuple[int, ...]:
        """Return all of them, ascending."""
        return tuple(self._places)

    def add(self, place: int) -> None:
        """Have one there, or at one that is as good."""
        if not any(place - LEAST_TOKENS < known <= place for known in self._places):
            insort(self._places, place)

    def reach(self, place: int) -> bool:
        """Go on to there; True when it is one of them."""
        if self.next != place:
            return False
        del self._places[0]
        return True


def _places(tokens: Sequences[int], start: int, ends: frozenset[int]) -> list[int]:
    borders = [place for place, token in enumerate(tokens, 1) if token in ends]
    borders = [place for place in borders if place < len(tokens)]
    last = len(tokens) - 1  # the same prompt once more
    if borders and len(tokens) - borders[-1] <= LEAST_TOKENS:
        last = borders[-1]  # also the next turn, where this answer will stand in other words
    wanted = {*borders[:1], *borders[-2:], last}
    found = _apart([start, *sorted(place for place in wanted if place > start)])
    between = [place for pair in pairwise(found) for place in _steps(*pair, borders)]
    return sorted([*found[1:], *between])


def _apart(places: Sequences[int]) -> list[int]:
    """Return the first and the last place, and those between that are not too close."""
    kept = [places[0]]
    for place in places[1:-1]:
        if place - kept[-1] >= LEAST_TOKENS:
            kept.append(place)
    return kept + [*places[1:]][-1:]


def _steps(first: int, last: int, borders: Sequences[int]) -> list[int]:
    """Return places not too far apart between two, at borders where there are any."""
    found: list[int] = []
    while last - first >= MOST_TOKENS + LEAST_TOKENS:
        near = [one for one in borders if MOST_TOKENS < 2 * (one - first) <= 2 * MOST_TOKENS]
        first = near[-1] if near else first + MOST_TOKENS
        found.append(first)
    return found
