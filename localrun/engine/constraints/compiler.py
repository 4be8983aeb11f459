"""Constraints for the sequences of one model, by llguidance.

One `GrammarCompiler` a model: it prepares the vocabulary once (a second for large ones) and
compiles a grammar once, both before the request is admitted: building belongs to no
step. Grammars come from anywhere, so their size and the work on them are bounded.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher, LLParserLimits
from llguidance.llamacpp import lltokenizer_from_vocab

from localrun.engine.constraints.deep_stack import on_deep_stack
from localrun.engine.constraints.grammar import grammar_of, wrong
from localrun.engine.constraints.grammar_matcher import GrammarMatcher
from localrun.engine.constraints.stages import StagedConstraint
from localrun.engine.constraints.tag_tokens import TagTokens
from localrun.engine.params import ConstraintKind, ConstraintSpec
from localrun.errors import UsageError

if TYPE_CHECKING:
    from llguidance import LLTokenizer

    from localrun.engine.llama.model import Model
    from localrun.engine.sequence import Constraint

MOST_COMPILED = 32
LIMITS = LLParserLimits(
    max_items_in_row=2000,  # an optional property of an object takes four
    initial_lexer_fuel=500_000,
    step_lexer_fuel=100_000,
    step_max_items=50_000,
    max_lexer_states=50_000,
    max_grammar_size=100_000,
    verbose_errors=False,
)
NO_TEXT = "NoExtension"  # llguidance's name for a grammar in which nothing can come
WHERE = re.compile(r"(?:at )?(\d+)\(\d+\): ")  # line and column
REGEX_REASON = re.compile(r"error: (.+)")
OVERLAPPING = "coerce_one_of"  # an option of llguidance that it advises
UNKNOWN_KEYWORDS = re.compile(r"Unimplemented keys: \[(.+)\]")


class GrammarCompiler:
    """Make constraints for sequences of one model; any thread may call."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._vocabulary = TagTokens(model.pieces, model.eog)
        self._tokenizer: LLTokenizer | None = None
        self._compiled: OrderedDict[bytes, LLMatcher] = OrderedDict()

    def constrain(self, spec: ConstraintSpec, prompt: str = "", *, begun: str = "") -> Constraint:
        """Return a fresh constraint for an answer to ``prompt``; blocks while it compiles.

        ``begun`` is the beginning of the answer that stands in the prompt already.

        Raises:
            UsageError: the schema, expression or grammar is wrong, too large or too
                slow (the message names the keyword or the line), or ``begun`` does not fit.
        """
        with self._lock:
            tokenizer = self._prepared()
            compiled = self._compile(spec, tokenizer)
            matcher = GrammarMatcher(compiled.deep_copy(), tokenizer, self._vocabulary.eog)
        if not matcher.feed(begun.encode()):
            raise wrong(spec, "does not allow the text of the message that is to be continued")
        if not (spec.after or spec.trigger):
            return matcher
        return StagedConstraint(spec, matcher, self._vocabulary, prompt)

    def _prepared(self) -> LLTokenizer:
        if self._tokenizer is None:
            if not self._vocabulary.eog.size:
                raise UsageError("this model has no end of text, so no constraint can be held")
            ends = self._vocabulary.eog.tolist()
            self._tokenizer = lltokenizer_from_vocab(self._model.vocab, eos_token=ends)
        return self._tokenizer

    def _compile(self, spec: ConstraintSpec, tokenizer: LLTokenizer) -> LLMatcher:
        """Return the grammar at its beginning, from the cache if it was used lately."""
        key = _digest(spec)
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = on_deep_stack(partial(self._build, spec, tokenizer))
            self._compiled[key] = compiled
        self._compiled.move_to_end(key)
        if len(self._compiled) > MOST_COMPILED:
            self._compiled.popitem(last=False)
        return compiled

    def _build(self, spec: ConstraintSpec, tokenizer: LLTokenizer) -> LLMatcher:
        compiled = LLMatcher(tokenizer, grammar_of(spec), log_level=0, limits=LIMITS)
        _check(
            spec, compiled, GrammarMatcher(compiled.deep_copy(), tokenizer, self._vocabulary.eog)
        )
        return compiled


def _digest(spec: ConstraintSpec) -> bytes:
    text = "\0".join((spec.kind, spec.text, spec.around, spec.calls, *spec.choices))
    return hashlib.sha256(text.encode()).digest()


def _check(spec: ConstraintSpec, compiled: LLMatcher, trial: GrammarMatcher) -> None:
    """Refuse a grammar that is wrong, or whose very first token cannot be found in time."""
    if compiled.is_error():
        raise wrong(spec, _reason(spec, compiled.get_error()))
    is_empty = compiled.is_accepting()
    trial.mask(np.zeros(trial.num_vocab, dtype=np.float32))
    if NO_TEXT in (trial.failure or "") or (trial.is_complete and not is_empty):
        raise wrong(spec, "is satisfied by no text")
    if trial.failure:
        raise wrong(spec, f"is refused: {trial.failure}")


def _reason(spec: ConstraintSpec, error: str) -> str:
    """Return llguidance's complaint as the end of a sentence."""
    if found := UNKNOWN_KEYWORDS.search(error):
        return f"has the keyword {found[1]}, which is not supported"
    if OVERLAPPING in error:
        return 'has the keyword "oneOf" with schemas that may hold together: write anyOf'
    detail = REGEX_REASON.search(error)
    first = error.strip().splitlines()[0] if error.strip() else "is refused"
    where = WHERE.match(first)
    what = detail[1] if detail else WHERE.sub("", first, count=1)
    if where and spec.kind is ConstraintKind.LARK:
        return f"is wrong in line {where[1]}: {what}"
    if detail and spec.kind is ConstraintKind.JSON_SCHEMA:
        return f"has a pattern that is wrong: {what}"
    return f"is wrong: {what}"
