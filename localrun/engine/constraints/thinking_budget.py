"""Follow the thoughts of one answer by the bytes of its tokens: count them, and end them.

Thought             how many tokens the thoughts have had, and whether one is open
BudgetConstraint    once there are too many, nothing but the closing tag may come
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.engine.sequence import Constraint


class ThinkingTracker:
    """The thoughts of one answer, which goes on behind ``prompt``."""

    def __init__(self, opening: str, closing: str, prompt: str) -> None:
        self._opening, self._closing = opening.encode(), closing.encode()
        self._tail = b""  # the end of the text, shorter than the tag that is looked for
        self.is_open = prompt.rstrip().endswith(opening.rstrip())
        self.num_tokens = 0

    def push(self, piece: bytes) -> None:
        """Take the bytes of the next token."""
        was_open = self.is_open
        text = self._tail + piece
        while (place := text.find(self._tag)) >= 0:
            text = text[place + len(self._tag) :]
            self.is_open = not self.is_open
        self._tail = text[-(len(self._tag) - 1) :] if len(self._tag) > 1 else b""
        self.num_tokens += was_open or self.is_open

    @property
    def _tag(self) -> bytes:
        return self._closing if self.is_open else self._opening


class ThinkingBudgetConstraint:
    """A constraint, if there is one, in which a thought has ``budget`` tokens at most."""

    def __init__(
        self,
        thought: ThinkingTracker,
        pieces: Sequence[bytes],
        *,
        budget: int,
        closing: Sequence[int],
        inner: Constraint | None = None,
    ) -> None:
        self._thought = thought  # its own: tokens of a step are drawn before any is counted
        self._pieces = pieces
        self._budget = budget
        self._closing = tuple(closing)  # tokens of the tag, and of blanks around it
        self._due: tuple[int, ...] = ()  # of them, what has to come now
        self._inner = inner

    @property
    def failure(self) -> str | None:
        """Return why the constraint inside cannot be held any more, None while it can."""
        return self._inner.failure if self._inner else None

    def mask(self, logits: np.ndarray) -> None:
        """Forbid in place what cannot come next; float32 (num_vocab,)."""
        self._end_in_time()
        if self._due:
            logits.fill(-np.inf)
            logits[self._due[0]] = 0
        elif self._inner:
            self._inner.mask(logits)

    def accept(self, token: int) -> None:
        """Move on by a token that `mask` allowed."""
        self._due = self._due[1:]
        self._thought.push(self._pieces[token])
        if self._inner:
            self._inner.accept(token)

    def forced(self) -> list[int]:
        """Return tokens that spell what must come next, as far as only one text can."""
        self._end_in_time()
        if self._due:
            return list(self._due)
        return self._inner.forced() if self._inner else []

    def _end_in_time(self) -> None:
        if not self._due and self._thought.is_open and self._thought.num_tokens >= self._budget:
            self._due = self._closing
