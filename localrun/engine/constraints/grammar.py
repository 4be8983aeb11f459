"""From a constraint as people write it to llguidance's grammar: text to text, no tokens.

Schemas and GBNF are rewritten here; everything is bounded in size first, since it
comes from anywhere. Whether the grammar means anything is found by compiling it.
"""

from __future__ import annotations

import json
from typing import Any

from llguidance import LLMatcher

from localrun.engine.constraints.gbnf import GbnfError, lark_of_gbnf
from localrun.engine.constraints.json_schema import with_ascii_classes, without_unreachable_bounds
from localrun.engine.constraints.unique_items import with_unique_items
from localrun.engine.params import ConstraintKind, ConstraintSpec
from localrun.errors import UsageError

LARGEST_TEXT = 128 * 1024  # bytes; twice that compiles for seconds
DEEPEST_SCHEMA = 64
MOST_RULES = 512  # of GBNF
# flexible white space lets a small model write blanks until its context is full
COMPACT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
NESTED = ("properties", "$defs", "definitions")  # keywords that hold schemas by name
ALTERNATIVES = ("anyOf", "oneOf", "prefixItems")
VALUES = {"enum", "const", "default", "examples"}  # keywords that hold no schemas
FORMATS = {  # that llguidance knows
    "date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "unknown",
    "uri", "uuid",
}  # fmt: skip


def grammar_of(spec: ConstraintSpec) -> str:
    """Return the grammar in llguidance's own form; it may still be wrong.

    Raises:
        UsageError: the text is too large, or no JSON or GBNF at all.
    """
    size = sum(len(text.encode()) for text in (spec.text, spec.calls, *spec.choices))
    if size > LARGEST_TEXT:
        raise wrong(spec, f"has {size} bytes, at most {LARGEST_TEXT} are taken")
    grammar = _own(spec)
    return _framed(grammar, spec) if spec.around else grammar


def _own(spec: ConstraintSpec) -> str:
    if spec.kind is ConstraintKind.JSON_OBJECT:
        return _json_grammar({"type": "object"}, spec)
    if spec.kind is ConstraintKind.JSON_SCHEMA:
        return _json_grammar(_schema(spec), spec)
    grammar: str = (
        LLMatcher.grammar_from_regex(with_ascii_classes(spec.text))
        if spec.kind is ConstraintKind.REGEX
        else LLMatcher.grammar_from_lark(_lark(spec))
    )
    return grammar


def engine_schema(schema: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the schema as llguidance reads it, without properties that it does not name.

    Properties stay open where objects are put together from parts.
    """
    known = _in_engine_terms(with_unique_items(schema))
    return known if _combines(known) else _closed(known)


def wrong(spec: ConstraintSpec, what: str) -> UsageError:
    """Return the error that names the field of the constraint."""
    return UsageError(f"{spec.param} {what}", param=spec.param)


def _framed(grammar: str, spec: ConstraintSpec) -> str:
    """Put what stands around the answer, and calls in its place, into one grammar with it."""
    answer = json.loads(grammar)["grammars"][0] if grammar.startswith("{") else None
    grammars = [{"lark_grammar": spec.around}, (answer or {"lark_grammar": grammar})]
    grammars[1] = {**grammars[1], "name": "answer"}
    if spec.calls:
        grammars.append({"lark_grammar": spec.calls, "name": "calls"})
    return json.dumps({"grammars": grammars})


def _json_grammar(schema: object, spec: ConstraintSpec) -> str:
    try:
        grammar: str = LLMatcher.grammar_from_json_schema(json.dumps(schema), defaults=COMPACT)
    except (
        ValueError
    ) as error:  # what Python takes for JSON and others do not: NaN, half characters
        raise wrong(spec, f"is not JSON: {error}") from error
    return grammar


def _schema(spec: ConstraintSpec) -> object:
    try:
        schema = json.loads(spec.text)
    except (ValueError, RecursionError) as error:
        raise wrong(spec, f"is not JSON: {error}") from error
    if _depth_exceeds(schema, DEEPEST_SCHEMA):
        raise wrong(spec, f"is nested deeper than {DEEPEST_SCHEMA} levels")
    if not isinstance(schema, dict):
        raise wrong(spec, "must be a JSON Schema, which is an object")
    return engine_schema(schema)


def _in_engine_terms(schema: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the schema as llguidance reads it: expressions, bounds, formats.

    By the standard a format that is not known says nothing of what is valid; the schemas of
    pydantic have their own, such as "path" and "binary".
    """
    if isinstance(schema, list):
        return [_in_engine_terms(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    known = without_unreachable_bounds(schema)
    if isinstance(schema.get("format"), str) and schema["format"] not in FORMATS:
        del known["format"]
    if isinstance(schema.get("pattern"), str):
        known["pattern"] = with_ascii_classes(schema["pattern"])
    for key in known.keys() - VALUES:
        known[key] = _inner_in_engine_terms(key, known[key])
    return known


def _inner_in_engine_terms(key: str, inner: Any) -> Any:  # noqa: ANN401 - any JSON value
    if not isinstance(inner, dict) or key not in {*NESTED, "patternProperties"}:
        return _in_engine_terms(inner)
    is_pattern = key == "patternProperties"
    return {
        (with_ascii_classes(name) if is_pattern else name): _in_engine_terms(schema)
        for name, schema in inner.items()
    }


def _depth_exceeds(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_depth_exceeds(item, levels - 1) for item in inner)


def _combines(schema: object) -> bool:
    """Return whether objects of the schema are put together from parts: none may be closed then."""
    if isinstance(schema, list):
        return any(map(_combines, schema))
    if not isinstance(schema, dict):
        return False
    is_part = "allOf" in schema or (
        "properties" in schema and bool(schema.keys() & {"$ref", "anyOf", "oneOf"})
    )
    return is_part or any(map(_combines, schema.values()))


def _closed(schema: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the schema without properties that it does not name.

    A schema that says nothing about others permits them, and a small model then adds
    properties until its context is full. What is narrower satisfies the schema too.
    """
    if not isinstance(schema, dict):
        return schema
    closed = dict(schema)
    for name in NESTED:
        if isinstance(schema.get(name), dict):
            closed[name] = {key: _closed(inner) for key, inner in schema[name].items()}
    for name in ALTERNATIVES:
        if isinstance(schema.get(name), list):
            closed[name] = [_closed(inner) for inner in schema[name]]
    if "items" in schema:
        closed["items"] = _closed(schema["items"])
    return {"additionalProperties": False, **closed} if _is_closable(schema) else closed


def _is_closable(schema: dict[str, Any]) -> bool:
    named, required = schema.get("properties"), schema.get("required", [])
    return (
        isinstance(named, dict)
        and isinstance(required, list)
        and all(isinstance(name, str) and name in named for name in required)
        and not schema.keys() & {"patternProperties", "minProperties"}
    )


def _lark(spec: ConstraintSpec) -> str:
    if spec.kind is ConstraintKind.CHOICE:
        return _lark_of_choices(spec)
    return _lark_of_gbnf(spec) if spec.kind is ConstraintKind.GBNF else spec.text


def _lark_of_choices(spec: ConstraintSpec) -> str:
    if not spec.choices:
        raise wrong(spec, "has no text to choose from")
    texts = " | ".join(json.dumps(choice) for choice in dict.fromkeys(spec.choices))
    return f"start: CHOICE\nCHOICE: {texts}"  # a terminal: as rules they would be items of a row


def _lark_of_gbnf(spec: ConstraintSpec) -> str:
    if spec.text.count("::=") > MOST_RULES:
        raise wrong(spec, f"has more than {MOST_RULES} rules")
    try:
        return lark_of_gbnf(spec.text)
    except GbnfError as error:
        raise wrong(spec, f"is not GBNF: {error}") from error
