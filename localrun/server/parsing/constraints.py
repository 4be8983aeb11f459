"""The constraint fields of a request, under the names of all servers.

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

Only one may be given. The fields of `UNSUPPORTED` are refused by name. Fields that choose among
libraries (``guided_decoding_backend``, ``structured_outputs.disable_fallback``) have no effect,
and ``structured_outputs.disable_any_whitespace`` is how JSON is always written here.

A grammar is GBNF or Lark, which its first rule shows: ``::=`` or ``:``. ``ebnf`` is GBNF.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.params import ConstraintKind, ConstraintSpec
from localrun.server.parsing.limits import MOST_CHOICES, refuse_long_grammar
from localrun.server.parsing.response_format import (
    format_constraint,
    grammar_constraint,
    schema_constraint,
    text_constraint,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.server.parsing.fields import Fields

Names = dict[ConstraintKind, tuple[str, ...]]

EMPTY: tuple[object, ...] = (None, "", {}, [], False)  # values by which programs leave a field out
EBNF = "ebnf"  # never Lark
GUIDED: Names = {
    ConstraintKind.JSON_SCHEMA: ("guided_json",),
    ConstraintKind.JSON_OBJECT: ("guided_json_object",),
    ConstraintKind.REGEX: ("guided_regex",),
    ConstraintKind.CHOICE: ("guided_choice",),
    ConstraintKind.GBNF: ("guided_grammar",),
}
PLAIN: Names = {
    ConstraintKind.JSON_SCHEMA: ("json_schema",),
    ConstraintKind.REGEX: ("regex", "regex_pattern"),
    ConstraintKind.CHOICE: ("choice",),
    ConstraintKind.GBNF: ("grammar", EBNF, "grammar_string"),
}
STRUCTURED: Names = {
    ConstraintKind.JSON_SCHEMA: ("json",),
    ConstraintKind.JSON_OBJECT: ("json_object",),
    ConstraintKind.REGEX: ("regex",),
    ConstraintKind.CHOICE: ("choice",),
    ConstraintKind.GBNF: ("grammar",),
}
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


def openai_constraint(fields: Fields) -> ConstraintSpec | None:
    """Return the constraint of an OpenAI request, under any server's names.

    Raises:
        UsageError: a field is wrong or not supported, or there are two.
    """
    structured, nvext = fields.inner("structured_outputs"), fields.inner("nvext")
    for part in (fields, structured, nvext):
        _refuse_unsupported(part)
    return _only(
        fields,
        format_constraint(fields, "response_format"),
        *_named(fields, PLAIN),
        *_named(fields, GUIDED),
        *_named(structured, STRUCTURED),
        *_named(nvext, GUIDED),
    )


def responses_constraint(fields: Fields) -> ConstraintSpec | None:
    """Return the constraint of ``text.format``, or of a field that is not OpenAI's.

    Raises:
        UsageError: a field is wrong or not supported, or there are two.
    """
    stated = format_constraint(fields.inner("text"), "format", schema_place="schema")
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
    return schema_constraint(form, "format")


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
    schema = form.raw("schema")
    if not isinstance(schema, dict):
        raise form.wrong("schema", "must be a JSON Schema, which is an object")
    return schema_constraint(schema, form.path("schema"))


def _only(fields: Fields, *specs: ConstraintSpec | None) -> ConstraintSpec | None:
    """Return the one constraint of several fields, None if no field has one."""
    found = [spec for spec in specs if spec is not None]
    if len(found) > 1:
        raise fields.wrong(found[1].param, f"cannot be combined with {found[0].param}")
    return found[0] if found else None


def _refuse_unsupported(fields: Fields) -> None:
    for name in UNSUPPORTED:
        if fields.raw(name) not in EMPTY:
            raise fields.wrong(name, "is not supported")


def _named(fields: Fields, names: Names) -> Iterator[ConstraintSpec]:
    for kind, aliases in names.items():
        for name in aliases:
            if fields.raw(name) not in EMPTY:
                yield _spec(fields, name, kind)


def _spec(fields: Fields, name: str, kind: ConstraintKind) -> ConstraintSpec:
    param, value = fields.path(name), fields.raw(name)
    if kind is ConstraintKind.JSON_OBJECT:
        fields.boolean(name)
        return ConstraintSpec(kind=kind, param=param)
    if kind is ConstraintKind.CHOICE:
        choices = fields.strings(name, most=MOST_CHOICES)
        refuse_long_grammar("".join(choices), param)
        return ConstraintSpec(kind=kind, choices=choices, param=param)
    if kind is ConstraintKind.JSON_SCHEMA and not isinstance(value, str):
        if not isinstance(value, dict):
            raise fields.wrong(name, "must be a JSON Schema, which is an object")
        return schema_constraint(value, param)
    if name == "grammar" and isinstance(value, dict):
        found = format_constraint(fields, name)
        if found is None:
            raise fields.wrong(name, "needs a type")
        return found
    text = fields.required_text(name)
    if kind is ConstraintKind.GBNF and name != EBNF:
        return grammar_constraint(text, param)
    return text_constraint(kind, text, param)
