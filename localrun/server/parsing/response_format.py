"""Response formats: objects with a ``type`` that constrain the output.

    {"type": "json_schema", "json_schema": {"schema": {}}}     OpenAI
    {"type": "json_schema", "schema": {}}                      OpenAI's responses, llama-server
    {"type": "json_object"}                                    OpenAI; with "schema" llama-server,
                                                               with "json_schema" Cohere
    {"type": "json", "schema": {}}                             TensorRT-LLM
    {"type": "json" or "json_object" or "regex", "value": _}   TGI
    {"type": "regex", "pattern": "..."}                        Together; as "regex" TensorRT-LLM,
                                                               as {"regex": "..."} Perplexity
    {"type": "grammar", "grammar": "..."}                      Fireworks
    {"type": "ebnf", "ebnf": "..."}                            TensorRT-LLM

A type that is not in this table (``structural_tag``) is refused.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from localrun.engine.params import ConstraintKind, ConstraintSpec
from localrun.errors import UsageError
from localrun.server.parsing.json_parser import is_larger
from localrun.server.parsing.json_schema import OBJECT, TEXT, either, one_of, request
from localrun.server.parsing.limits import LONGEST_GRAMMAR, refuse_long_grammar

if TYPE_CHECKING:
    from localrun.server.parsing.fields import Fields

# The first line that is neither blank nor a comment: a directive, or a rule whose first colon
# does not begin "::=". All quantifiers are possessive: linear time.
LARK = re.compile(r"(?:\s*+(?:#|//)[^\n]*+)*+\s*+(?:%|[^:\n]++:(?!:=))")
SCHEMA_TYPES = ("json_schema", "json_object", "json")
TEXT_TYPES: dict[str, tuple[str, ...]] = {  # type: the fields that hold its text
    "regex": ("pattern", "regex", "value"),
    "grammar": ("grammar", "value"),
    "ebnf": ("ebnf", "value"),
}
TYPES = ("text", *SCHEMA_TYPES, *TEXT_TYPES)
FORMAT_SCHEMA = request(
    {},
    {
        "type": one_of(*TYPES),
        **dict.fromkeys(("json_schema", "schema"), OBJECT),
        **dict.fromkeys(("pattern", "grammar", "ebnf"), TEXT),
        **dict.fromkeys(("regex", "value"), either(TEXT, OBJECT)),
    },
)


def format_constraint(
    fields: Fields, name: str, *, schema_place: str = "json_schema.schema"
) -> ConstraintSpec | None:
    """Return the constraint of the format in the field ``name``, or None for plain text.

    ``schema_place`` is the field that the error names if the schema is missing.

    Raises:
        UsageError: the type is unknown, or the field that belongs to it is missing or wrong.
    """
    form, param = fields.inner(name), fields.path(name)
    kind = form.text("type")
    if kind in {None, "text"}:
        return None
    if kind in TEXT_TYPES:
        return _text_format(form, kind, param)
    if kind not in SCHEMA_TYPES:
        raise form.wrong("type", f"must be one of {', '.join(TYPES)}")
    place = _place_of_schema(form)
    if place is None and kind == "json_object":
        return ConstraintSpec(kind=ConstraintKind.JSON_OBJECT, param=param)
    schema = None if place is None else _inside(form, place)
    if not isinstance(schema, dict):
        raise form.wrong(place or schema_place, "must be a JSON Schema, which is an object")
    return schema_constraint(schema, param)


def schema_constraint(schema: dict[str, Any], param: str) -> ConstraintSpec:
    """Return the constraint of a JSON Schema.

    Raises:
        UsageError: the schema is too large.
    """
    if is_larger(schema, LONGEST_GRAMMAR):  # checked before it is encoded
        raise UsageError(f"{param} has more than {LONGEST_GRAMMAR} bytes", param=param)
    return text_constraint(ConstraintKind.JSON_SCHEMA, json.dumps(schema), param)


def grammar_constraint(text: str, param: str) -> ConstraintSpec:
    """Return the constraint of a grammar in GBNF or Lark.

    Raises:
        UsageError: the grammar is too large.
    """
    refuse_long_grammar(text, param)
    kind = ConstraintKind.LARK if LARK.match(text) else ConstraintKind.GBNF
    return text_constraint(kind, text, param)


def text_constraint(kind: ConstraintKind, text: str, param: str) -> ConstraintSpec:
    """Return a constraint whose value is one text.

    Raises:
        UsageError: the text is too large.
    """
    refuse_long_grammar(text, param)
    return ConstraintSpec(kind=kind, text=text, param=param)


def _text_format(form: Fields, kind: str, param: str) -> ConstraintSpec:
    names = TEXT_TYPES[kind]
    name = next((name for name in names if form.raw(name) is not None), names[0])
    holder = form
    if isinstance(form.raw(name), dict):
        holder = form.inner(name)
    text = holder.required_text(name)
    if kind == "grammar":
        return grammar_constraint(text, param)
    return text_constraint(
        ConstraintKind.REGEX if kind == "regex" else ConstraintKind.GBNF, text, param
    )


def _place_of_schema(form: Fields) -> str | None:
    """Return the path of a format's schema, or None if no field has a schema."""
    named = form.inner("json_schema")
    if named.raw("schema") is not None:
        return "json_schema.schema"
    if form.text("type") == "json_object" and named.all():  # Cohere's: the schema itself
        return "json_schema"
    return next((name for name in ("schema", "value") if form.raw(name) is not None), None)


def _inside(form: Fields, place: str) -> object:
    outer, _, name = place.rpartition(".")
    return (form.inner(outer) if outer else form).raw(name)
