"""Computed prompts out of a cache and into it, as bytes; one class for each kind of cache.

With full attention any run of positions can go alone, since a cell depends on nothing but
the tokens up to it: `PrefixExchange`. Other memories go as a whole: `StateExchange`.

All of it happens in the engine's thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from localrun.engine.cache.state_cache import StateCache

if TYPE_CHECKING:
    from localrun.engine.cache.prefix_cache import PrefixCache


class States(Protocol):
    """What an exchange needs of a context."""

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        """Let ``target`` hold the cells of ``source`` too."""

    def remove(self, holder: int, start: int, end: int) -> None:
        """Let ``holder`` hold them no more."""

    def save(self, slot: int) -> bytes:
        """Return what a slot holds."""

    def restore(self, slot: int, data: bytes) -> bool:
        """Put it into an empty slot; False when it cannot."""


class Exchange(Protocol):
    """A cache whose contents can be taken out and put in."""

    is_whole: bool  # only from position 0 to the end of what was computed

    def prompts(self) -> list[list[int]]:
        """Return the tokens of all that is cached, longest unused first."""

    def num_cached(self, tokens: list[int]) -> int:
        """Return how many first tokens need not be computed."""

    def take_out(self, tokens: list[int], start: int) -> bytes | None:
        """Return what is computed for ``tokens[start:]``, None where it is not.

        No sequence may run that shares it.
        """

    def put_in(self, tokens: list[int], start: int, data: bytes) -> bool:
        """Keep it as cached; False when there is no room, or nothing that it follows."""

    def tidy(self) -> bool:
        """Undo what taking out has moved, a piece at a time; False when all is done."""


class PrefixExchange:
    """Runs of cells of a `PrefixCache`."""

    is_whole = False

    def __init__(self, cache: PrefixCache, states: States) -> None:
        self._cache = cache
        self._states = states

    def prompts(self) -> list[list[int]]:
        """Return all prefixes without adapters that no longer one begins with."""
        return self._cache.prompts()

    def num_cached(self, tokens: list[int]) -> int:
        """Return the length of the longest cached prefix."""
        self._cache.bring_back(tokens)
        return self._cache.tree.find(tokens, len(tokens)).length

    def take_out(self, tokens: list[int], start: int) -> bytes | None:
        """Gather the run in a slot that is empty, and return what it holds then."""
        self._cache.bring_back(tokens)
        match = self._cache.tree.find(tokens, len(tokens))
        slot = self._cache.spare_slot
        if match.length < len(tokens):
            return None
        for part in (match.partial or match.node).path():
            first, last = max(start, part.start), min(len(tokens), part.end)
            if first < last:
                self._states.copy(part.holder, slot, first, last)
        data = self._states.save(slot)
        self._states.remove(slot, 0, -1)
        return data or None

    def put_in(self, tokens: list[int], start: int, data: bytes) -> bool:
        """Add the run to the tree, as far as it is not there."""
        return self._cache.graft(tokens, start, lambda slot: self._states.restore(slot, data))

    def tidy(self) -> bool:
        """Free cells that only cost looks."""
        return self._cache.tidy()


class StateExchange:
    """Whole states of a `StateCache`."""

    is_whole = True

    def __init__(self, cache: StateCache, states: States) -> None:
        self._cache = cache
        self._states = states

    def prompts(self) -> list[list[int]]:
        """Return the tokens of all kept states, longest unused first."""
        return [tokens for _, tokens in self._cache.kept]

    def num_cached(self, tokens: list[int]) -> int:
        """Return the length of the longest state that ``tokens`` go on from."""
        return self._cache.num_cached(tokens)

    def take_out(self, tokens: list[int], start: int) -> bytes | None:
        """Return the state of exactly these tokens."""
        for slot, kept in self._cache.kept:
            if kept == tokens and start == 0:
                return self._states.save(slot) or None
        return None

    def put_in(self, tokens: list[int], start: int, data: bytes) -> bool:
        """Keep the state in a slot."""
        return start == 0 and self._cache.graft(
            tokens, lambda slot: self._states.restore(slot, data)
        )

    def tidy(self) -> bool:
        """Have nothing to do: states are copied where they are."""
        return False


def exchange_of(cache: PrefixCache | StateCache, states: States) -> Exchange:
    """Return the exchange for a cache."""
    if isinstance(cache, StateCache):
        return StateExchange(cache, states)
    return PrefixExchange(cache, states)
