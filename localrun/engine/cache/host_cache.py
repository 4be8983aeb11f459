"""Computed prefixes that were moved out of the cells, as bytes in the host's memory.

A cell that nobody uses costs each token of each step a look. So what has been idle for a
while goes here in pieces, and comes back when a prompt begins with it, which costs no more
than two copies.

    piece    tokens[start:] of a prefix ``tokens``, and the data of their cells

A piece follows the tokens before it and no others. Law: `num_bytes` is that of all pieces,
and never above the budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PIECE_TOKENS = 256
PIECE_BYTES = 4 * 1024 * 1024  # about what is copied at once: no step waits for more
BUDGET_BYTES = 512 * 1024 * 1024

Place = tuple[int, int]  # length and hash of the tokens before a piece


@dataclass(frozen=True, slots=True)
class HostPrefix:
    """A run behind a prefix."""

    tokens: list[int]  # with all before it
    start: int
    data: bytes
    at: int = 0  # when it came, by whatever clock its owner has


class HostPrefixCache:
    """Pieces by where they go on and their first token, longest unused first."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget_bytes = budget_bytes
        self._pieces: dict[tuple[Place, int], HostPrefix] = {}
        self.num_bytes = 0
        self._token_bytes = 0  # as the last piece had them

    @property
    def piece_tokens(self) -> int:
        """Return how many tokens a piece should have."""
        return max(1, min(PIECE_TOKENS, PIECE_BYTES // max(1, self._token_bytes)))

    @property
    def has_room(self) -> bool:
        """Return whether a piece would push no other out."""
        return self.num_bytes + self.piece_tokens * self._token_bytes <= self._budget_bytes

    @property
    def oldest_at(self) -> int | None:
        """Return when the oldest piece came, None when there is none."""
        return next((piece.at for piece in self._pieces.values()), None)

    def put(self, piece: HostPrefix) -> None:
        """Keep a piece, at the cost of the oldest ones; not one that is larger than the budget."""
        key = _place(piece.tokens, piece.start), piece.tokens[piece.start]
        self._forget(key)
        self._token_bytes = len(piece.data) // (len(piece.tokens) - piece.start)
        most = self._budget_bytes - len(piece.data)
        while self._pieces and self.num_bytes > most:
            self._forget(next(iter(self._pieces)))
        if self.num_bytes <= most:
            self._pieces[key] = piece
            self.num_bytes += len(piece.data)

    def take(self, tokens: Sequence[int], start: int) -> HostPrefix | None:
        """Remove and return the piece that ``tokens`` go on with at ``start``."""
        if not self._pieces or start >= len(tokens):
            return None
        key = _place(tokens, start), tokens[start]
        piece = self._pieces.get(key)
        if piece is None or piece.tokens[:start] != tokens[:start]:  # only the hash is the same
            return None
        self._forget(key)
        return piece

    def prompts(self) -> list[list[int]]:
        """Return the tokens of all pieces that no other follows, longest unused first."""
        places = {place for place, _ in self._pieces}
        pieces = self._pieces.values()
        return [
            piece.tokens
            for piece in pieces
            if _place(piece.tokens, len(piece.tokens)) not in places
        ]

    def clear(self) -> None:
        """Forget all."""
        self._pieces.clear()
        self.num_bytes = 0

    def _forget(self, key: tuple[Place, int]) -> None:
        piece = self._pieces.pop(key, None)
        if piece is not None:
            self.num_bytes -= len(piece.data)


def _place(tokens: Sequence[int], length: int) -> Place:
    return length, hash(tuple(tokens[:length]))
