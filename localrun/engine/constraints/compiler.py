"""Compiler of grammars for the sequences of one model, by llguidance.

One `GrammarCompiler` per model prepares the vocabulary once (a second for large ones) and caches
compiled grammars. Compiling happens before a request is admitted, never in a step. Grammars come
from clients, so their size and the work on them are bounded. llguidance is imported with the first
grammar: most runners and the warm process never need its 3 MB.
"""

from __future__ import annotations

import functools
import hashlib
import re
import threading
from collections import OrderedDict
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from localrun.engine.constraints.grammar import constraint_error, grammar_of
from localrun.engine.constraints.grammar_matcher import GrammarMatcher
from localrun.engine.constraints.stages import StagedConstraint
from localrun.engine.constraints.tag_tokens import TagTokens
from localrun.engine.params import ConstraintKind, ConstraintSpec
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llguidance import LLMatcher, LLParserLimits, LLTokenizer

    from localrun.engine.llama.model import Model
    from localrun.engine.sequence import Constraint

MAX_CACHED = 32
# Address space; memory is committed as it is used. The longest chains that fit into
# grammar.LARGEST_TEXT took less than 64 MiB.
STACK_BYTES = 256 * 2**20
NO_TEXT = "NoExtension"  # llguidance's name for a grammar that no text satisfies
WHERE = re.compile(r"(?:at )?(\d+)\(\d+\): ")  # line and column
REGEX_REASON = re.compile(r"error: (.+)")
OVERLAPPING = "coerce_one_of"  # an llguidance option that its error message advises
UNKNOWN_KEYWORDS = re.compile(r"Unimplemented keys: \[(.+)\]")
T = TypeVar("T")
# Guards the process-wide stack size of new threads while one is started. It is taken after
# GrammarCompiler._lock, and no lock is taken while it is held.
_stack_size_lock = threading.Lock()


class GrammarCompiler:
    """Compiled grammars and constraints of one model; any thread may call."""

    def __init__(self, model: Model) -> None:
        self._model = model
        # Guards _tokenizer and _compiled, also while a grammar compiles: one compiles at a
        # time. Taken before _stack_size_lock.
        self._lock = threading.Lock()
        self._vocabulary = TagTokens(model.pieces, model.eog)
        self._tokenizer: LLTokenizer | None = None
        self._compiled: OrderedDict[bytes, LLMatcher] = OrderedDict()

    def constrain(self, spec: ConstraintSpec, prompt: str = "", *, prefix: str = "") -> Constraint:
        """Return a new constraint for the answer to ``prompt``; block while it compiles.

        ``prefix`` is the beginning of the answer that the prompt already contains.

        Raises:
            UsageError: the schema, expression or grammar is invalid, too large or too
                slow (the message names the keyword or the line), or ``prefix`` violates it.
        """
        with self._lock:
            tokenizer = self._prepared_tokenizer()
            compiled = self._compile(spec, tokenizer)
            matcher = GrammarMatcher(compiled.deep_copy(), tokenizer, self._vocabulary.eog)
        if not matcher.feed(prefix.encode()):
            raise constraint_error(spec, "does not allow the text of the continued message")
        if not (spec.after or spec.trigger):
            return matcher
        return StagedConstraint(spec, matcher, self._vocabulary, prompt)

    def _prepared_tokenizer(self) -> LLTokenizer:
        if self._tokenizer is None:
            if not self._vocabulary.eog.size:
                raise UsageError(
                    "this model has no end-of-generation token, which structured output needs"
                )
            eog = self._vocabulary.eog.tolist()
            from llguidance.llamacpp import lltokenizer_from_vocab  # lazy: see the module

            self._tokenizer = lltokenizer_from_vocab(self._model.vocab, eos_token=eog)
        return self._tokenizer

    def _compile(self, spec: ConstraintSpec, tokenizer: LLTokenizer) -> LLMatcher:
        """Return the compiled grammar in its initial state, cached if recently used."""
        key = _digest(spec)
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = on_deep_stack(partial(self._build, spec, tokenizer))
            self._compiled[key] = compiled
        self._compiled.move_to_end(key)
        if len(self._compiled) > MAX_CACHED:
            self._compiled.popitem(last=False)
        return compiled

    def _build(self, spec: ConstraintSpec, tokenizer: LLTokenizer) -> LLMatcher:
        from llguidance import LLMatcher  # lazy: see the module

        compiled = LLMatcher(tokenizer, grammar_of(spec), log_level=0, limits=_limits())
        trial = GrammarMatcher(compiled.deep_copy(), tokenizer, self._vocabulary.eog)
        _check(spec, compiled, trial)
        return compiled


def on_deep_stack(function: Callable[[], T]) -> T:
    """Return what ``function`` returns, or raise what it raises, from a thread with a large stack.

    llguidance recurses for each ``$ref`` and each rule without a limit: a chain of 1,200
    definitions overflows the usual 8 MiB, and that ends the process. The caller waits.
    """
    result: Future[T] = Future()
    thread = threading.Thread(target=_resolve, args=(result, function), name="deep", daemon=True)
    with _stack_size_lock:
        default_size = threading.stack_size(STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(default_size)
    thread.join()
    return result.result()


def _resolve(result: Future[T], function: Callable[[], T]) -> None:
    try:
        result.set_result(function())
    except BaseException as error:  # noqa: BLE001 - the caller raises it
        result.set_exception(error)


def _digest(spec: ConstraintSpec) -> bytes:
    text = "\0".join((spec.kind, spec.text, spec.around, spec.calls, *spec.choices))
    return hashlib.sha256(text.encode()).digest()


@functools.cache
def _limits() -> LLParserLimits:
    from llguidance import LLParserLimits  # lazy: see the module

    return LLParserLimits(
        max_items_in_row=2000,  # an optional property of an object takes four
        initial_lexer_fuel=500_000,
        step_lexer_fuel=100_000,
        step_max_items=50_000,
        max_lexer_states=50_000,
        max_grammar_size=100_000,
        verbose_errors=False,
    )


def _check(spec: ConstraintSpec, compiled: LLMatcher, trial: GrammarMatcher) -> None:
    """Refuse an invalid grammar, and one whose very first mask takes too long."""
    if compiled.is_error():
        raise constraint_error(spec, _problem(spec, compiled.get_error()))
    is_empty = compiled.is_accepting()
    trial.mask(np.zeros(trial.num_vocab, dtype=np.float32))
    if NO_TEXT in (trial.failure or "") or (trial.is_complete and not is_empty):
        raise constraint_error(spec, "is satisfied by no text")
    if trial.failure:
        raise constraint_error(spec, f"is refused: {trial.failure}")


def _problem(spec: ConstraintSpec, error: str) -> str:
    """Return llguidance's error message as the predicate of a sentence."""
    if keywords := UNKNOWN_KEYWORDS.search(error):
        return f"has the keyword {keywords[1]}, which is not supported"
    if OVERLAPPING in error:
        return 'has the keyword "oneOf" with overlapping schemas: write anyOf'
    regex_reason = REGEX_REASON.search(error)
    first_line = error.strip().splitlines()[0] if error.strip() else "is refused"
    where = WHERE.match(first_line)
    reason = regex_reason[1] if regex_reason else WHERE.sub("", first_line, count=1)
    if where and spec.kind is ConstraintKind.LARK:
        return f"is wrong in line {where[1]}: {reason}"
    if regex_reason and spec.kind is ConstraintKind.JSON_SCHEMA:
        return f"has a pattern that is wrong: {reason}"
    return f"is wrong: {reason}"
