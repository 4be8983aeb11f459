"""The fields in which clients say what an answer must be, under all their names.

    response_format                            OpenAI; "schema" beside the type: llama-server
    text.format                                OpenAI, for responses
    json_schema, grammar                       llama-server
    guided_json, _regex, _choice, _grammar     vLLM
    structured_outputs.json, regex, ...        vLLM, newer
    regex, choice                              others
    format                                     Ollama
    output_config.format, output_format        Anthropic, now and before

Only one may be given. A grammar is GBNF, unless it looks like Lark.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from localrun.engine.params import ConstraintKind, ConstraintSpec
from localrun.errors import UsageError
from localrun.server.limits import LONGEST_GRAMMAR, MOST_CHOICES, refuse_long_grammar
from localrun.server.parsing import is_larger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.server.fields import Fields

Names = dict[ConstraintKind, tuple[str, ...]]

# blanks of one line only: a match from each of many empty lines would cost the square of them
LARK = re.compile(r"^[^\S\n]*+(?:%llguidance\b|start\s*+:(?!:=))", re.MULTILINE)
NAMES: Names = {
    ConstraintKind.JSON_SCHEMA: ("json_schema", "guided_json"),
    ConstraintKind.REGEX: ("regex", "guided_regex"),
    ConstraintKind.CHOICE: ("choice", "guided_choice"),
    ConstraintKind.GBNF: ("grammar", "guided_grammar"),
}
STRUCTURED: Names = {
    ConstraintKind.JSON_SCHEMA: ("json",),
    ConstraintKind.REGEX: ("regex",),
    ConstraintKind.CHOICE: ("choice",),
    ConstraintKind.GBNF: ("grammar",),
}
UNSUPPORTED = ("structural_tag", "whitespace_pattern")


def openai_constraint(fields: Fields) -> ConstraintSpec | None:
    """Return what the fields of an OpenAI request say, under any server's names.

    Raises:
        UsageError: a field is wrong, or there are two.
    """
    structured = fields.inner("structured_outputs")
    for name in UNSUPPORTED:
        if structured.raw(name) is not None:
            raise structured.wrong(name, "is not supported")
    return _only(
        fields,
        _response_format(fields),
        *_named(fields, NAMES),
        *_named(structured, STRUCTURED),
        _any_object(structured),
    )


def responses_constraint(fields: Fields) -> ConstraintSpec | None:
    """Return what ``text.format`` says, or a field that is not OpenAI's.

    Raises:
        UsageError: a field is wrong, or there are two.
    """
    form = fields.inner("text").inner("format")
    kind, param = form.text("type"), "text.format"
    stated = None
    if kind == "json_schema":
        stated = _schema(_object(form, "schema", form.raw("schema")), form.path("schema"))
    elif kind == "json_object":
        stated = ConstraintSpec(kind=ConstraintKind.JSON_OBJECT, param=param)
    elif kind not in {None, "text"}:
        raise form.wrong("type", "must be text, json_object or json_schema")
    return _only(fields, stated, openai_constraint(fields))


def ollama_constraint(fields: Fields) -> ConstraintSpec | None:
    """Return what ``format`` says: "json", or a JSON Schema.

    Raises:
        UsageError: it is neither.
    """
    form = fields.raw("format")
    if form in (None, ""):
        return None
    if form == "json":
        return ConstraintSpec(kind=ConstraintKind.JSON_OBJECT, param="format")
    if not isinstance(form, dict):
        raise fields.wrong("format", 'must be "json" or a JSON Schema')
    return _schema(form, "format")


def anthropic_constraint(fields: Fields) -> ConstraintSpec | None:
    """Return what ``output_config.format``, or ``output_format``, says: a JSON Schema.

    Raises:
        UsageError: it says something else.
    """
    config = fields.inner("output_config")
    form = config.inner("format") if config.raw("format") else fields.inner("output_format")
    kind = form.text("type")
    if kind is None:
        return None
    if kind != "json_schema":
        raise form.wrong("type", "must be json_schema")
    return _schema(_object(form, "schema", form.raw("schema")), form.path("schema"))


def _only(fields: Fields, *specs: ConstraintSpec | None) -> ConstraintSpec | None:
    """Return the one that there is, None where there is none."""
    found = [spec for spec in specs if spec is not None]
    if len(found) > 1:
        raise fields.wrong(found[1].param, f"cannot be combined with {found[0].param}")
    return found[0] if found else None


def _response_format(fields: Fields) -> ConstraintSpec | None:
    form = fields.inner("response_format")
    kind = form.text("type")
    if kind in {None, "text"}:
        return None
    if kind == "json_schema":
        schema = form.inner("json_schema").raw("schema")
        if schema is None:
            schema = form.raw("schema")
        return _schema(_object(form, "json_schema.schema", schema), "response_format")
    if kind != "json_object":
        raise form.wrong("type", "must be text, json_object or json_schema")
    if form.raw("schema") is not None:
        return _schema(_object(form, "schema", form.raw("schema")), "response_format")
    return ConstraintSpec(kind=ConstraintKind.JSON_OBJECT, param="response_format")


def _named(fields: Fields, names: Names) -> Iterator[ConstraintSpec]:
    for kind, aliases in names.items():
        for name in aliases:
            if fields.raw(name) not in (None, "", {}, []):
                yield _spec(fields, name, kind)


def _spec(fields: Fields, name: str, kind: ConstraintKind) -> ConstraintSpec:
    param = fields.path(name)
    if kind is ConstraintKind.CHOICE:
        choices = fields.strings(name, most=MOST_CHOICES)
        refuse_long_grammar("".join(choices), param)
        return ConstraintSpec(kind=kind, choices=choices, param=param)
    if kind is ConstraintKind.JSON_SCHEMA and not isinstance(fields.raw(name), str):
        return _schema(_object(fields, name, fields.raw(name)), param)
    text = fields.required_text(name)
    refuse_long_grammar(text, param)
    if kind is ConstraintKind.GBNF and LARK.search(text):
        kind = ConstraintKind.LARK
    return ConstraintSpec(kind=kind, text=text, param=param)


def _any_object(structured: Fields) -> ConstraintSpec | None:
    if not structured.boolean("json_object"):
        return None
    return ConstraintSpec(kind=ConstraintKind.JSON_OBJECT, param="structured_outputs.json_object")


def _object(fields: Fields, name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise fields.wrong(name, "must be a JSON Schema, which is an object")
    return value


def _schema(schema: dict[str, Any], param: str) -> ConstraintSpec:
    if is_larger(schema, LONGEST_GRAMMAR):  # before a text of it is made
        raise UsageError(f"{param} has more than {LONGEST_GRAMMAR} bytes", param=param)
    text = json.dumps(schema)
    refuse_long_grammar(text, param)
    return ConstraintSpec(kind=ConstraintKind.JSON_SCHEMA, text=text, param=param)
