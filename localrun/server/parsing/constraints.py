"""Constraint fields of a request: structured output under the names of all servers.

    response_format                            OpenAI; its types are in response_format.py
    text.format                                OpenAI, for responses
    json_schema, grammar                       llama-server
    guided_json, _regex, _choice, _grammar,    vLLM
      _json_object
    structured_outputs.json, regex, choice,    vLLM, newer
      grammar, json_object
    nvext.guided_json, _regex, ...             NVIDIA NIM
    regex, ebnf, json_schema                   sglang
    grammar {"type", "value"}                  TGI
    regex_pattern, grammar_string              TabbyAPI, text-generation-webui
    choice                                     others
    format                                     Ollama
    output_config.format, output_format        Anthropic, now and before

At most one may be given. The `unsupported` rows are refused by name. Fields that choose among
libraries (``guided_decoding_backend``, ``structured_outputs.disable_fallback``) have no effect,
and ``structured_outputs.disable_any_whitespace`` is how JSON is always written here.

A grammar is GBNF or Lark; the separator of its first rule shows which: ``::=`` or ``:``. ``ebnf``
is always GBNF.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.params import ConstraintKind, ConstraintSpec
from localrun.server.parsing.json_schema import FLAG, OBJECT, TEXT, either, listed, maybe, one_of
from localrun.server.parsing.limits import MAX_CHOICES, refuse_long_grammar
from localrun.server.parsing.response_format import (
    FORMAT_SCHEMA,
    format_constraint,
    grammar_constraint,
    schema_constraint,
    text_constraint,
)
from localrun.server.parsing.table import EMPTY, Field, Table, group, raw, unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from localrun.server.parsing.fields import Fields
    from localrun.server.parsing.json_schema import Schema
    from localrun.server.parsing.table import Values

ConstraintField = Field[ConstraintSpec | None]

UNSUPPORTED = (
    "custom_logit_processor",  # sglang
    "disable_additional_properties",  # vLLM, inside structured_outputs
    "grammar_lazy",  # llama-server
    "grammar_retain_state",  # KoboldCpp
    "grammar_triggers",  # llama-server
    "guided_whitespace_pattern",  # vLLM, NIM
    "logits_processors",  # vLLM
    "structural_tag",  # sglang, vLLM
    "whitespace_pattern",  # vLLM, inside structured_outputs
)


def constraint_field(
    name: str, read: Callable[[Fields, str], ConstraintSpec], schema: Schema
) -> ConstraintField:
    """Return the row of a constraint; the values by which programs omit a member are None."""
    return Field(
        name, lambda fields, name: None if fields.raw(name) in EMPTY else read(fields, name), schema
    )


def openai_constraint(values: Values) -> ConstraintSpec | None:
    """Return the constraint of a request with the rows of `CONSTRAINTS`.

    Raises:
        UsageError: there are two.
    """
    return _only(values.fields, _stated(values))


def responses_constraint(values: Values, text: Values) -> ConstraintSpec | None:
    """Return the constraint of ``text.format``, or of the rows of `CONSTRAINTS`.

    Raises:
        UsageError: there are two.
    """
    return _only(values.fields, [text[TEXT_FORMAT], openai_constraint(values)])


def _stated(values: Values) -> list[ConstraintSpec]:
    """Return the constraints of all rows, in the order of the error that names two."""
    return [
        *values.given(_TOP).values(),
        *values[STRUCTURED_OUTPUTS].given(_STRUCTURED).values(),
        *values[NVEXT].given(_GUIDED).values(),
    ]


def _only(fields: Fields, specs: Iterable[ConstraintSpec | None]) -> ConstraintSpec | None:
    """Return the one constraint of several members, or None if no member has one."""
    stated = [spec for spec in specs if spec is not None]
    if len(stated) > 1:
        raise fields.wrong(stated[1].param, f"cannot be combined with {stated[0].param}")
    return stated[0] if stated else None


def anthropic_constraint(config: Values, values: Values) -> ConstraintSpec | None:
    """Return the constraint of ``output_config.format``, or else of ``output_format``.

    Raises:
        UsageError: the format is not a JSON Schema.
    """
    holder = config if config[ANTHROPIC_FORMAT] else values
    row = ANTHROPIC_FORMAT if holder is config else ANTHROPIC_OLD_FORMAT
    form = holder.fields.inner(row.name)
    kind, schema = form.text("type"), form.raw("schema")
    if kind is None:
        return None
    if kind != "json_schema":
        raise form.wrong("type", "must be json_schema")
    if not isinstance(schema, dict):
        raise form.wrong("schema", "must be a JSON Schema, which is an object")
    return schema_constraint(schema, form.path("schema"))


def _json_schema(fields: Fields, name: str) -> ConstraintSpec:
    value, param = fields.raw(name), fields.path(name)
    if isinstance(value, str):
        return text_constraint(ConstraintKind.JSON_SCHEMA, value, param)
    if not isinstance(value, dict):
        raise fields.wrong(name, "must be a JSON Schema, which is an object")
    return schema_constraint(value, param)


def _json_object(fields: Fields, name: str) -> ConstraintSpec:
    fields.boolean(name)
    return ConstraintSpec(kind=ConstraintKind.JSON_OBJECT, param=fields.path(name))


def _choice(fields: Fields, name: str) -> ConstraintSpec:
    param, choices = fields.path(name), fields.strings(name, most=MAX_CHOICES)
    refuse_long_grammar("".join(choices), param)
    return ConstraintSpec(kind=ConstraintKind.CHOICE, choices=choices, param=param)


def _regex(fields: Fields, name: str) -> ConstraintSpec:
    return text_constraint(ConstraintKind.REGEX, fields.required_text(name), fields.path(name))


def _ebnf(fields: Fields, name: str) -> ConstraintSpec:
    return text_constraint(ConstraintKind.GBNF, fields.required_text(name), fields.path(name))


def _grammar(fields: Fields, name: str) -> ConstraintSpec:
    return grammar_constraint(fields.required_text(name), fields.path(name))


def _ollama_format(fields: Fields, name: str) -> ConstraintSpec | None:
    form = fields.raw(name)
    if form in (None, ""):
        return None
    if form == "json":
        return ConstraintSpec(kind=ConstraintKind.JSON_OBJECT, param=name)
    if not isinstance(form, dict):
        raise fields.wrong(name, 'must be "json" or a JSON Schema')
    return schema_constraint(form, name)


def _grammar_or_format(fields: Fields, name: str) -> ConstraintSpec:
    """Return the constraint of ``grammar``: a text (llama-server), or a format (TGI)."""
    if not isinstance(fields.raw(name), dict):
        return _grammar(fields, name)
    spec = format_constraint(fields, name)
    if spec is None:
        raise fields.wrong(name, "needs a type")
    return spec


_SCHEMA = either(OBJECT, TEXT)
_CHOICES = either(TEXT, listed(TEXT, maxItems=MAX_CHOICES))
_GRAMMAR = constraint_field("grammar", _grammar_or_format, either(TEXT, FORMAT_SCHEMA))
_UNSUPPORTED = tuple(map(unsupported, UNSUPPORTED))
_GUIDED = (
    constraint_field("guided_json", _json_schema, _SCHEMA),
    constraint_field("guided_json_object", _json_object, FLAG),
    constraint_field("guided_regex", _regex, TEXT),
    constraint_field("guided_choice", _choice, _CHOICES),
    constraint_field("guided_grammar", _grammar, TEXT),
)
_STRUCTURED = (
    constraint_field("json", _json_schema, _SCHEMA),
    constraint_field("json_object", _json_object, FLAG),
    constraint_field("regex", _regex, TEXT),
    constraint_field("choice", _choice, _CHOICES),
    _GRAMMAR,
)
_TOP: tuple[ConstraintField, ...] = (
    Field("response_format", format_constraint, FORMAT_SCHEMA),
    constraint_field("json_schema", _json_schema, _SCHEMA),
    constraint_field("regex", _regex, TEXT),
    constraint_field("regex_pattern", _regex, TEXT),
    constraint_field("choice", _choice, _CHOICES),
    _GRAMMAR,
    constraint_field("ebnf", _ebnf, TEXT),
    constraint_field("grammar_string", _grammar, TEXT),
    *_GUIDED,
)
STRUCTURED_OUTPUTS = group("structured_outputs", Table((*_UNSUPPORTED, *_STRUCTURED)))
NVEXT = group("nvext", Table((*_UNSUPPORTED, *_GUIDED)))
CONSTRAINTS = Table((*_UNSUPPORTED, *_TOP, STRUCTURED_OUTPUTS, NVEXT))
TEXT_FORMAT: ConstraintField = Field(
    "format",
    lambda fields, name: format_constraint(fields, name, schema_place="schema"),
    {**FORMAT_SCHEMA, "properties": {**FORMAT_SCHEMA["properties"], "name": maybe(TEXT)}},
)
OLLAMA_FORMAT = Field("format", _ollama_format, either(one_of("json", ""), OBJECT))
ANTHROPIC_FORMAT = raw("format", OBJECT)
ANTHROPIC_OLD_FORMAT = raw("output_format", OBJECT)
