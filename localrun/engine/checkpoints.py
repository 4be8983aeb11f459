"""Copies of states in host memory, to begin other sequences from, and where to make them.

A state cannot go back, but a copy of what it was after so many tokens can be put in its
place. The copy has the part of the memory that cannot be cut and no more: cells of full
attention stay where they are (llama.cpp's PARTIAL_ONLY).

    system <end> question <end> answer <end> question <end> <assistant>
                ^                           ^              ^
    common to many chats           another question    another answer

Law: the copies take no more than the budget; the one that was used longest ago goes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence as Sequences

    from localrun.engine.adapters import AdapterSet

LEAST_TOKENS = 16  # between two places: what is computed in no time is not worth a copy
MOST_TOKENS = 512  # between two: so much is computed again at most


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the memory was after these tokens."""

    tokens: tuple[int, ...]
    adapters: AdapterSet

    @property
    def length(self) -> int:
        """Return the number of tokens."""
        return len(self.tokens)


class Checkpoints:
    """The copies, found by the tokens that they were computed from."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._data: dict[Checkpoint, memoryview] = {}  # longest unused first
        self.num_bytes = 0

    def find(self, tokens: Sequences[int], adapters: AdapterSet) -> Iterator[Checkpoint]:
        """Yield those that are a beginning of ``tokens``, or all of them, longest first."""
        wanted = tuple(tokens)
        fitting = [
            one
            for one in self._data
            if one.length <= len(wanted)
            and one.tokens[-1] == wanted[one.length - 1]  # for a quick no
            and one.adapters == adapters
        ]
        for one in sorted(fitting, key=lambda one: one.length, reverse=True):
            if one.tokens == wanted[: one.length]:
                yield one

    def use(self, checkpoint: Checkpoint) -> memoryview | None:
        """Return the copy, which counts as used now; None when there is none."""
        data = self._data.pop(checkpoint, None)
        if data is not None:
            self._data[checkpoint] = data
        return data

    def add(self, checkpoint: Checkpoint, data: memoryview) -> None:
        """Keep a new copy if it is not larger than the budget."""
        if data.nbytes > self._budget_bytes:
            return
        self._data[checkpoint] = data
        self.num_bytes += data.nbytes
        while self.num_bytes > self._budget_bytes:
            self.num_bytes -= self._data.pop(next(iter(self._data))).nbytes

    def clear(self) -> None:
        """Forget all."""
        self._data.clear()
        self.num_bytes = 0


def places(tokens: Sequences[int], start: int, ends: frozenset[int]) -> list[int]:
    """Return after how many tokens of a prompt a copy is worth it, ascending.

    ``start`` are computed already; ``ends`` are the tokens that end a message. The last
    place leaves something of the prompt to be computed.
    """
    if len(tokens) < LEAST_TOKENS:
        return []
    borders = [place for place, token in enumerate(tokens, 1) if token in ends]
    borders = [place for place in borders if place < len(tokens)]
    last = len(tokens) - 1  # the same prompt once more
    if borders and len(tokens) - borders[-1] <= LEAST_TOKENS:
        last = borders[-1]  # also the next turn, where this answer will stand in other words
    wanted = {*borders[:1], *borders[-2:], last}
    between = sorted({start, *(place for place in wanted if place > start)})
    for first, second in pairwise(list(between)):
        between += _steps(first, second, borders)
    return _apart(sorted(between), last)


def _steps(first: int, last: int, borders: Sequences[int]) -> list[int]:
    """Return places not too far apart between two, at borders where there are any."""
    found: list[int] = []
    while last - first > MOST_TOKENS:
        near = [one for one in borders if MOST_TOKENS < 2 * (one - first) <= 2 * MOST_TOKENS]
        first = near[-1] if near else first + MOST_TOKENS
        found.append(first)
    return found


def _apart(found: Sequences[int], last: int) -> list[int]:
    """Return the places, the first of which is only the start, without those too close."""
    kept = [found[0]]
    for place in found[1:]:
        if place - kept[-1] >= LEAST_TOKENS or place == last:
            kept.append(place)
    return kept[1:]
