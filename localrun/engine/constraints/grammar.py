"""Translation of a `ConstraintSpec` to llguidance's grammar: text to text, no tokens.

JSON Schema (json_schema.py) and GBNF (gbnf.py) are rewritten. Every input is bounded in size
first, since it comes from clients. Whether a grammar is valid is found by compiling it.
"""

from __future__ import annotations

import json

from localrun.engine.constraints.gbnf import GbnfError, lark_of_gbnf
from localrun.engine.constraints.json_schema import llguidance_schema, with_ascii_classes
from localrun.engine.params import ConstraintKind, ConstraintSpec
from localrun.errors import UsageError

LARGEST_TEXT = 128 * 1024  # bytes; twice that compiles for seconds
MAX_SCHEMA_DEPTH = 64
MAX_GBNF_RULES = 512
# flexible white space lets a small model write blanks until its context is full
COMPACT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def grammar_of(spec: ConstraintSpec) -> str:
    """Return the grammar in llguidance's own format; it may still be invalid.

    Raises:
        UsageError: the text is too large, or not JSON or GBNF at all.
    """
    size = sum(len(text.encode()) for text in (spec.text, spec.calls, *spec.choices))
    if size > LARGEST_TEXT:
        raise constraint_error(spec, f"has {size} bytes, at most {LARGEST_TEXT} are allowed")
    grammar = _answer_grammar(spec)
    return _framed(grammar, spec) if spec.around else grammar


def constraint_error(spec: ConstraintSpec, problem: str) -> UsageError:
    """Return the error for a constraint; its message begins with the name of the field."""
    return UsageError(f"{spec.param} {problem}", param=spec.param)


def _answer_grammar(spec: ConstraintSpec) -> str:
    if spec.kind is ConstraintKind.JSON_OBJECT:
        return _json_grammar({"type": "object"}, spec)
    if spec.kind is ConstraintKind.JSON_SCHEMA:
        return _json_grammar(_schema(spec), spec)
    from llguidance import LLMatcher  # lazy: see `compiler`

    grammar: str = (
        LLMatcher.grammar_from_regex(with_ascii_classes(spec.text))
        if spec.kind is ConstraintKind.REGEX
        else LLMatcher.grammar_from_lark(_lark(spec))
    )
    return grammar


def _framed(grammar: str, spec: ConstraintSpec) -> str:
    """Return one grammar of the answer, the text around it, and calls in its place."""
    answer = json.loads(grammar)["grammars"][0] if grammar.startswith("{") else None
    grammars = [{"lark_grammar": spec.around}, (answer or {"lark_grammar": grammar})]
    grammars[1] = {**grammars[1], "name": "answer"}
    if spec.calls:
        grammars.append({"lark_grammar": spec.calls, "name": "calls"})
    return json.dumps({"grammars": grammars})


def _json_grammar(schema: object, spec: ConstraintSpec) -> str:
    from llguidance import LLMatcher  # lazy: see `compiler`

    try:
        grammar: str = LLMatcher.grammar_from_json_schema(json.dumps(schema), defaults=COMPACT)
    except ValueError as error:  # Python's JSON allows NaN and lone surrogates
        raise constraint_error(spec, f"is not JSON: {error}") from error
    return grammar


def _schema(spec: ConstraintSpec) -> object:
    try:
        schema = json.loads(spec.text)
    except (ValueError, RecursionError) as error:
        raise constraint_error(spec, f"is not JSON: {error}") from error
    if _depth_exceeds(schema, MAX_SCHEMA_DEPTH):
        raise constraint_error(spec, f"is nested deeper than {MAX_SCHEMA_DEPTH} levels")
    if not isinstance(schema, dict):
        raise constraint_error(spec, "must be a JSON Schema, which is an object")
    return llguidance_schema(schema)


def _depth_exceeds(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_depth_exceeds(item, levels - 1) for item in inner)


def _lark(spec: ConstraintSpec) -> str:
    if spec.kind is ConstraintKind.CHOICE:
        return _lark_of_choices(spec)
    return _lark_of_gbnf(spec) if spec.kind is ConstraintKind.GBNF else spec.text


def _lark_of_choices(spec: ConstraintSpec) -> str:
    if not spec.choices:
        raise constraint_error(spec, "has no text to choose from")
    texts = " | ".join(json.dumps(choice) for choice in dict.fromkeys(spec.choices))
    # a terminal: each rule would count as an item of llguidance's limit max_items_in_row
    return f"start: CHOICE\nCHOICE: {texts}"


def _lark_of_gbnf(spec: ConstraintSpec) -> str:
    if spec.text.count("::=") > MAX_GBNF_RULES:
        raise constraint_error(spec, f"has more than {MAX_GBNF_RULES} rules")
    try:
        return lark_of_gbnf(spec.text)
    except GbnfError as error:
        raise constraint_error(spec, f"is not GBNF: {error}") from error
