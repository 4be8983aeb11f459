"""Staged constraint: a grammar that applies to a part of the answer only.

    OPENING   a thought or the grammar may start
    THOUGHT   free text until the closing tag; the answer may end after a call that started in it
    GAP       line ends, or the start of the grammar
    FREE      free text until the trigger; the answer may end
    GRAMMAR   the grammar; once complete, back to FREE if a trigger may repeat, else the end

    OPENING -> THOUGHT -> GAP -> GRAMMAR            without a trigger
    OPENING -> THOUGHT -> FREE <-> GRAMMAR          with a trigger

The stages follow the bytes of the tokens, so tokens may split a tag anywhere. A token that ends
a tag and also starts the grammar is forbidden: the tag's own last token can always replace it.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

import numpy as np

from localrun.engine.constraints.tag_tokens import BLANK, overlap

if TYPE_CHECKING:
    from localrun.engine.constraints.grammar_matcher import GrammarMatcher
    from localrun.engine.constraints.tag_tokens import TagTokens
    from localrun.engine.params import ConstraintSpec

GAP = b"\n\n"


class Stage(Enum):
    """Stage of an answer."""

    OPENING = auto()
    THOUGHT = auto()
    GAP = auto()
    FREE = auto()
    GRAMMAR = auto()


class StagedConstraint:
    """Constraint of one answer to ``prompt``."""

    def __init__(
        self, spec: ConstraintSpec, matcher: GrammarMatcher, vocabulary: TagTokens, prompt: str
    ) -> None:
        self._opening = (spec.opening or "").encode()
        self._after = (spec.after or "").encode()
        self._trigger = (spec.trigger or "").encode()
        self._is_once = spec.is_once
        self._breaks = tuple(text.encode() for text in spec.breaks)
        self._break_tail = b""  # last bytes of the thought, fewer than the longest break has
        self._has_break = False  # in the current thought
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._tail = b""  # last bytes of free text, fewer than the searched tag has
        self._remaining = b""  # bytes of the opening tag, or of the gap, that may still come
        self._fits_grammar = True  # the text in OPENING could also be the start of the grammar
        self._stage = Stage.GRAMMAR
        self._start(prompt.encode().rstrip())

    @property
    def failure(self) -> str | None:
        """Return why the grammar can no longer be enforced, or None if it can."""
        return self._matcher.failure

    def mask(self, logits: np.ndarray) -> None:
        """Forbid in place the tokens that the stage does not allow; float32 (num_vocab,)."""
        if self._stage is Stage.GRAMMAR:
            self._matcher.mask(logits)
        elif self._stage in {Stage.OPENING, Stage.GAP}:
            self._mask_lead(logits)
        else:
            self._mask_free(logits)

    def accept(self, token: int) -> None:
        """Advance by a token that `mask` allowed."""
        piece = self._vocabulary.pieces[token]
        if self._stage is Stage.GRAMMAR:
            self._matcher.accept(token)
            self._leave_completed_grammar()
        elif self._stage is Stage.OPENING:
            self._accept_opening(token, piece)
        elif self._stage is Stage.GAP:
            self._accept_gap(token, piece)
        else:
            self._accept_free(piece)

    def forced(self) -> list[int]:
        """Return the tokens of the only text that may come next; may be empty."""
        return self._matcher.forced() if self._stage is Stage.GRAMMAR else []

    def _leave_completed_grammar(self) -> None:
        """Return to FREE after a complete grammar, unless the grammar applies only once."""
        if self._trigger and not self._is_once and self._matcher.is_complete and not self.failure:
            self._enter_free()

    def _start(self, prompt: bytes) -> None:
        """Enter the stage in which the prompt ends: inside, behind or before a thought."""
        if not self._after:
            self._enter_answer()
        elif self._opening and prompt.endswith(self._opening):
            self._enter_thought()
        elif self._opening and not prompt.endswith(self._after):
            self._stage, self._remaining = Stage.OPENING, self._opening
        elif self._opening:
            self._enter_answer()
        else:
            self._enter_thought()

    def _enter_thought(self) -> None:
        self._matcher.reset()  # it may have accepted a part of the tag
        self._fits_grammar = True
        self._stage, self._tail = Stage.THOUGHT, b""
        self._break_tail, self._has_break = b"", False

    def _enter_answer(self) -> None:
        if self._trigger:
            self._enter_free()
        else:
            self._stage = Stage.GRAMMAR

    def _enter_free(self) -> None:
        self._matcher.reset()
        self._stage, self._tail = Stage.FREE, b""

    @property
    def _tag(self) -> bytes:
        """Return the tag that ends the free text."""
        return self._after if self._stage is Stage.THOUGHT else self._trigger

    def _mask_free(self, logits: np.ndarray) -> None:
        if self._stage is Stage.THOUGHT and not self._has_break:  # there is no answer yet
            logits[self._vocabulary.eog] = -np.inf
        tag = self._tag
        logits[self._vocabulary.overrunning_inside(tag)] = -np.inf
        num_written = overlap(self._tail, tag)
        if num_written:
            logits[self._vocabulary.overrunning(tag[num_written:])] = -np.inf

    def _mask_lead(self, logits: np.ndarray) -> None:
        """Allow the text that may precede the grammar, and the grammar."""
        if self._stage is Stage.OPENING and self._trigger:
            return  # free text, with or without a thought
        is_opening = self._stage is Stage.OPENING
        find = self._vocabulary.continuing if is_opening else self._vocabulary.within
        lead_tokens = find(self._remaining)
        lead_logits = logits[lead_tokens]
        if self._fits_grammar:
            self._matcher.mask(logits)
        else:
            logits.fill(-np.inf)
        logits[lead_tokens] = lead_logits

    def _accept_free(self, piece: bytes) -> None:
        if self._stage is Stage.THOUGHT and self._breaks and not self._has_break:
            self._search_break(piece)
        text = self._tail + piece
        tag = self._tag
        position = text.find(tag)
        if position < 0:
            self._tail = text[-(len(tag) - 1) :] if len(tag) > 1 else b""
            return
        behind = text[position + len(tag) :]
        if self._stage is Stage.FREE:
            self._stage = Stage.GRAMMAR
            self._matcher.feed(behind)
        elif self._trigger:
            self._enter_free()
        else:
            self._stage, self._remaining = Stage.GAP, GAP
            self._skip(behind)

    def _search_break(self, piece: bytes) -> None:
        thought = self._break_tail + piece
        self._has_break = any(text in thought for text in self._breaks)
        longest = max(map(len, self._breaks))
        self._break_tail = thought[-(longest - 1) :] if longest > 1 else b""

    def _accept_opening(self, token: int, piece: bytes) -> None:
        if self._fits_grammar and not self._trigger:
            self._fits_grammar = self._matcher.allows(token)
            if self._fits_grammar:
                self._matcher.accept(token)
        if piece.startswith(self._remaining):
            behind = piece[len(self._remaining) :]
            self._enter_thought()
            self._accept_free(behind)
        elif piece and self._remaining.startswith(piece):
            self._remaining = self._remaining[len(piece) :]
        elif self._trigger:
            self._enter_free()
            self._accept_free(piece)
        else:
            self._stage = Stage.GRAMMAR

    def _accept_gap(self, token: int, piece: bytes) -> None:
        if self._matcher.allows(token):
            self._stage = Stage.GRAMMAR
            self._matcher.accept(token)
        else:
            self._skip(piece)

    def _skip(self, text: bytes) -> None:
        """Shorten the gap by line ends; other text, or the last line end, ends it."""
        num_used = len(text) if not text.strip(BLANK) else len(self._remaining)
        self._remaining = self._remaining[num_used:]
        if not self._remaining:
            self._stage = Stage.GRAMMAR
