"""The constraint fields of an OpenAI request as OpenAPI's schemas."""

from __future__ import annotations

from localrun.server.openapi.words import (
    FLAG,
    OBJECT,
    TEXT,
    Schema,
    either,
    listed,
    one_of,
    request,
)
from localrun.server.parsing.response_format import TEXT_TYPES, TYPES


def constraints() -> dict[str, Schema]:
    """Return the fields that say what an answer must be."""
    schema, choices = either(OBJECT, TEXT), either(TEXT, listed(TEXT))
    form = {"type": one_of(*TYPES), "json_schema": OBJECT, "schema": OBJECT, "value": schema}
    grammars = {name: TEXT for names in TEXT_TYPES.values() for name in names[:-1]}
    guided = {
        "guided_json": schema,
        "guided_json_object": FLAG,
        "guided_regex": TEXT,
        "guided_choice": choices,
        "guided_grammar": TEXT,
    }
    structured = {
        "json": schema,
        "json_object": FLAG,
        "regex": TEXT,
        "choice": choices,
        "grammar": TEXT,
    }
    return {
        "response_format": request({}, {**form, **grammars, "regex": either(TEXT, OBJECT)}),
        "json_schema": schema,
        "grammar": either(TEXT, request({}, form)),
        **dict.fromkeys(("ebnf", "grammar_string", "regex", "regex_pattern"), TEXT),
        "choice": choices,
        **guided,
        "structured_outputs": request({}, structured),
        "nvext": request({}, guided),
    }
