"""A constraint that holds for a part of the answer only.

    OPENING   a thought may begin, or the grammar
    THOUGHT   free until the closing tag; the end may come behind a call that began in it
    GAP       line ends may come, or the grammar
    WATCH     free until the trigger; the end may come too
    BOUND     the grammar; once it is complete, back to WATCH where there is a trigger
              that holds more than once, or else the end

    OPENING -> THOUGHT -> GAP -> BOUND            without a trigger
    OPENING -> THOUGHT -> WATCH <-> BOUND         with one

The stages follow the bytes of the tokens, so a tag may be cut anyhow. A token that
would end a tag and begin the grammar at once is forbidden: the tag's own last token
can always come in its place.
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
    """Where an answer is."""

    OPENING = auto()
    THOUGHT = auto()
    GAP = auto()
    WATCH = auto()
    BOUND = auto()


class StagedConstraint:
    """The state of one answer, which goes on behind ``prompt``."""

    def __init__(
        self, spec: ConstraintSpec, matcher: GrammarMatcher, vocabulary: TagTokens, prompt: str
    ) -> None:
        self._opening = (spec.opening or "").encode()
        self._after = (spec.after or "").encode()
        self._trigger = (spec.trigger or "").encode()
        self._is_once = spec.is_once
        self._breaks = tuple(text.encode() for text in spec.breaks)
        self._break_tail = b""  # the end of the thought, shorter than the longest of them
        self._is_broken = False  # the thought has one of them
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._tail = b""  # the end of free text, shorter than the tag that is looked for
        self._rest = b""  # what is missing of the tag, or of the line ends, that may come
        self._fits_grammar = True  # what came in OPENING could be the grammar's as well
        self._stage = Stage.BOUND
        self._begin(prompt.encode().rstrip())

    @property
    def failure(self) -> str | None:
        """Return why the grammar cannot be held, None while it can."""
        return self._matcher.failure

    def mask(self, logits: np.ndarray) -> None:
        """Forbid in place what cannot come next; float32 (num_vocab,)."""
        if self._stage is Stage.BOUND:
            self._matcher.mask(logits)
        elif self._stage in {Stage.OPENING, Stage.GAP}:
            self._mask_lead(logits)
        else:
            self._mask_free(logits)

    def accept(self, token: int) -> None:
        """Move on by a token that `mask` allowed."""
        piece = self._vocabulary.pieces[token]
        if self._stage is Stage.BOUND:
            self._matcher.accept(token)
            self._end_bound()
        elif self._stage is Stage.OPENING:
            self._accept_opening(token, piece)
        elif self._stage is Stage.GAP:
            self._accept_gap(token, piece)
        else:
            self._accept_free(piece)

    def forced(self) -> list[int]:
        """Return tokens that spell what must come next, as far as only one text can."""
        return self._matcher.forced() if self._stage is Stage.BOUND else []

    def _end_bound(self) -> None:
        """Watch again once the grammar is complete; where it holds once, the end must come."""
        if self._trigger and not self._is_once and self._matcher.is_complete and not self.failure:
            self._watch()

    def _begin(self, prompt: bytes) -> None:
        """Take up where the prompt ends: inside a thought, behind it, or before."""
        if not self._after:
            self._answer()
        elif self._opening and prompt.endswith(self._opening):
            self._think()
        elif self._opening and not prompt.endswith(self._after):
            self._stage, self._rest = Stage.OPENING, self._opening
        elif self._opening:
            self._answer()
        else:
            self._think()

    def _think(self) -> None:
        self._matcher.reset()  # of a tag that began as the grammar does
        self._fits_grammar = True
        self._stage, self._tail = Stage.THOUGHT, b""
        self._break_tail, self._is_broken = b"", False

    def _answer(self) -> None:
        """Begin the answer proper."""
        if self._trigger:
            self._watch()
        else:
            self._stage = Stage.BOUND

    def _watch(self) -> None:
        self._matcher.reset()
        self._stage, self._tail = Stage.WATCH, b""

    @property
    def _tag(self) -> bytes:
        """Return the tag that ends the free text."""
        return self._after if self._stage is Stage.THOUGHT else self._trigger

    def _mask_free(self, logits: np.ndarray) -> None:
        if self._stage is Stage.THOUGHT and not self._is_broken:  # an end would leave no answer
            logits[self._vocabulary.eog] = -np.inf
        tag = self._tag
        logits[self._vocabulary.overrunning_inside(tag)] = -np.inf
        written = overlap(self._tail, tag)
        if written:
            logits[self._vocabulary.overrunning(tag[written:])] = -np.inf

    def _mask_lead(self, logits: np.ndarray) -> None:
        """Allow what may come before the grammar, and the grammar."""
        if self._stage is Stage.OPENING and self._trigger:
            return  # all is free, with or without a thought
        is_opening = self._stage is Stage.OPENING
        find = self._vocabulary.continuing if is_opening else self._vocabulary.within
        lead = find(self._rest)
        kept = logits[lead]
        if self._fits_grammar:
            self._matcher.mask(logits)
        else:
            logits.fill(-np.inf)
        logits[lead] = kept

    def _accept_free(self, piece: bytes) -> None:
        if self._stage is Stage.THOUGHT and self._breaks and not self._is_broken:
            self._look_for_break(piece)
        text = self._tail + piece
        tag = self._tag
        place = text.find(tag)
        if place < 0:
            self._tail = text[-(len(tag) - 1) :] if len(tag) > 1 else b""
            return
        rest = text[place + len(tag) :]
        if self._stage is Stage.WATCH:
            self._stage = Stage.BOUND
            self._matcher.feed(rest)
        elif self._trigger:
            self._watch()
        else:
            self._stage, self._rest = Stage.GAP, GAP
            self._skip(rest)

    def _look_for_break(self, piece: bytes) -> None:
        thought = self._break_tail + piece
        self._is_broken = any(text in thought for text in self._breaks)
        longest = max(map(len, self._breaks))
        self._break_tail = thought[-(longest - 1) :] if longest > 1 else b""

    def _accept_opening(self, token: int, piece: bytes) -> None:
        if self._fits_grammar and not self._trigger:
            self._fits_grammar = self._matcher.takes(token)
            if self._fits_grammar:
                self._matcher.accept(token)
        if piece.startswith(self._rest):
            rest = piece[len(self._rest) :]
            self._think()
            self._accept_free(rest)
        elif piece and self._rest.startswith(piece):
            self._rest = self._rest[len(piece) :]
        elif self._trigger:
            self._watch()
            self._accept_free(piece)
        else:
            self._stage = Stage.BOUND

    def _accept_gap(self, token: int, piece: bytes) -> None:
        if self._matcher.takes(token):
            self._stage = Stage.BOUND
            self._matcher.accept(token)
        else:
            self._skip(piece)

    def _skip(self, blank: bytes) -> None:
        """Take line ends of the gap off; it is over when it is used up."""
        used = len(blank) if not blank.strip(BLANK) else len(self._rest)
        self._rest = self._rest[used:]
        if not self._rest:
            self._stage = Stage.BOUND
