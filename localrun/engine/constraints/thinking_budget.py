"""Thinking budget of one answer: counts the tokens of its thoughts, and closes them in time.

ThinkingTracker             number of thought tokens, and whether a thought is open
ThinkingBudgetConstraint    allows only the closing tag once the budget is used up

Both follow the bytes of the tokens, so tokens may split a tag anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.engine.sequence import Constraint


class ThinkingTracker:
    """Thoughts of one answer to ``prompt``."""

    def __init__(self, opening: str, closing: str, prompt: str) -> None:
        self._opening, self._closing = opening.encode(), closing.encode()
        self._tail = b""  # last bytes of the text, fewer than the searched tag has
        self.is_open = prompt.rstrip().endswith(opening.rstrip())
        self.num_tokens = 0

    def push(self, piece: bytes) -> None:
        """Add the bytes of the next token."""
        was_open = self.is_open
        text = self._tail + piece
        while (position := text.find(self._tag)) >= 0:
            text = text[position + len(self._tag) :]
            self.is_open = not self.is_open
        self._tail = text[-(len(self._tag) - 1) :] if len(self._tag) > 1 else b""
        self.num_tokens += was_open or self.is_open

    @property
    def _tag(self) -> bytes:
        return self._closing if self.is_open else self._opening


class ThinkingBudgetConstraint:
    """Constraint that limits thoughts to ``budget`` tokens, around an optional inner constraint."""

    def __init__(
        self,
        thought: ThinkingTracker,
        pieces: Sequence[bytes],
        *,
        budget: int,
        closing: Sequence[int],
        inner: Constraint | None = None,
    ) -> None:
        self._thought = thought  # not shared with the sequence, which counts after the whole step
        self._pieces = pieces
        self._budget = budget
        self._closing = tuple(closing)  # tokens of the tag and of the white space around it
        self._due: tuple[int, ...] = ()  # closing tokens that must come next
        self._inner = inner

    @property
    def failure(self) -> str | None:
        """Return why the inner constraint can no longer be enforced, or None if it can."""
        return self._inner.failure if self._inner else None

    def mask(self, logits: np.ndarray) -> None:
        """Forbid in place the tokens that may not come next; float32 (num_vocab,)."""
        self._close_when_due()
        if self._due:
            logits.fill(-np.inf)
            logits[self._due[0]] = 0
        elif self._inner:
            self._inner.mask(logits)

    def accept(self, token: int) -> None:
        """Advance by a token that `mask` allowed."""
        self._due = self._due[1:]
        self._thought.push(self._pieces[token])
        if self._inner:
            self._inner.accept(token)

    def forced(self) -> list[int]:
        """Return the tokens of the only text that may come next; may be empty."""
        self._close_when_due()
        if self._due:
            return list(self._due)
        return self._inner.forced() if self._inner else []

    def _close_when_due(self) -> None:
        if not self._due and self._thought.is_open and self._thought.num_tokens >= self._budget:
            self._due = self._closing
