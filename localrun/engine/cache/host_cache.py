"""Host prefix cache: computed prefixes that were moved out of the KV cache cells, as bytes.

    piece    tokens[start:] of a prefix ``tokens``, and the data of their cells

A piece is valid only behind exactly the tokens before it. Invariant: `num_bytes` is the size
of all pieces and never exceeds the budget. `IdlePrefixes` decides what is moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PIECE_TOKENS = 256
PIECE_BYTES = 4 * 1024 * 1024  # limits what is copied at once, and so how long a step waits
BUDGET_BYTES = 512 * 1024 * 1024

PrefixKey = tuple[int, int]  # length and hash of the tokens before a piece


@dataclass(frozen=True, slots=True)
class HostPrefix:
    """A run of tokens behind a prefix, and its cells."""

    tokens: list[int]  # from position 0
    start: int  # first position of the run
    data: bytes
    offloaded_at: int = 0  # in ticks of the radix tree's clock


class HostPrefixCache:
    """Pieces by the prefix before them and their first token, oldest first."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget_bytes = budget_bytes
        self._pieces: dict[tuple[PrefixKey, int], HostPrefix] = {}
        self.num_bytes = 0
        self._token_bytes = 0  # of the last piece

    @property
    def piece_tokens(self) -> int:
        """Return the number of tokens that a new piece should have."""
        return max(1, min(PIECE_TOKENS, PIECE_BYTES // max(1, self._token_bytes)))

    @property
    def has_room(self) -> bool:
        """Return whether a new piece fits without evicting another."""
        return self.num_bytes + self.piece_tokens * self._token_bytes <= self._budget_bytes

    @property
    def oldest_offloaded_at(self) -> int | None:
        """Return when the oldest piece was offloaded, or None if the cache is empty."""
        return next((piece.offloaded_at for piece in self._pieces.values()), None)

    def put(self, piece: HostPrefix) -> None:
        """Add a piece, evicting the oldest; a piece larger than the budget is dropped."""
        key = _prefix_key(piece.tokens, piece.start), piece.tokens[piece.start]
        self._remove(key)
        self._token_bytes = len(piece.data) // (len(piece.tokens) - piece.start)
        max_bytes = self._budget_bytes - len(piece.data)
        while self._pieces and self.num_bytes > max_bytes:
            self._remove(next(iter(self._pieces)))
        if self.num_bytes <= max_bytes:
            self._pieces[key] = piece
            self.num_bytes += len(piece.data)

    def take(self, tokens: Sequence[int], start: int) -> HostPrefix | None:
        """Remove and return the piece behind ``tokens[:start]`` that begins with the next token."""
        if not self._pieces or start >= len(tokens):
            return None
        key = _prefix_key(tokens, start), tokens[start]
        piece = self._pieces.get(key)
        if piece is None or piece.tokens[:start] != tokens[:start]:  # hashes may collide
            return None
        self._remove(key)
        return piece

    def prompts(self) -> list[list[int]]:
        """Return the tokens of all pieces that no other piece follows, oldest first."""
        prefixes = {prefix for prefix, _ in self._pieces}
        return [
            piece.tokens
            for piece in self._pieces.values()
            if _prefix_key(piece.tokens, len(piece.tokens)) not in prefixes
        ]

    def clear(self) -> None:
        """Drop all pieces."""
        self._pieces.clear()
        self.num_bytes = 0

    def _remove(self, key: tuple[PrefixKey, int]) -> None:
        piece = self._pieces.pop(key, None)
        if piece is not None:
            self.num_bytes -= len(piece.data)


def _prefix_key(tokens: Sequence[int], length: int) -> PrefixKey:
    return length, hash(tuple(tokens[:length]))
