"""The tools of a request: their names, and the types of their parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from localrun.chat.profiles.literals import read_literal

JsonObject = Mapping[str, Any]

_TYPES_OF_PYTHON = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}
_SHARED = ("$defs", "definitions")  # what "$ref" points into
PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool."""

    name: str
    parameters: JsonObject = field(default_factory=lambda: {"type": "object", "properties": {}})

    @property
    def properties(self) -> dict[str, JsonObject]:
        """The schemas of the parameters, each able to stand alone."""
        shared = {key: self.parameters[key] for key in _SHARED if key in self.parameters}
        found = self.parameters.get("properties")
        if not isinstance(found, Mapping):
            return {}
        return {
            name: {**schema, **shared} if isinstance(schema, Mapping) else shared
            for name, schema in found.items()
        }

    def schema_of(self, parameter: str) -> JsonObject:
        """Return the schema of a parameter, without what is shared; empty when there is none."""
        found = self.parameters.get("properties")
        schema = found.get(parameter) if isinstance(found, Mapping) else None
        return schema if isinstance(schema, Mapping) else {}

    def requires(self, parameter: str) -> bool:
        """Return whether a call must have a parameter."""
        required = self.parameters.get("required")
        return isinstance(required, Sequence) and parameter in required


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of a request, by name."""

    by_name: Mapping[str, Tool]

    @classmethod
    def of(cls, definitions: Sequence[JsonObject]) -> Tools:
        """Read definitions in OpenAI's shape; what has no name is none."""
        found = [_tool_of(definition) for definition in definitions]
        return cls({tool.name: tool for tool in found if tool is not None})

    def value_of(self, tool: str, parameter: str, text: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return the value that a parameter written without quotes has, by the tool's schema."""
        schema = self.by_name[tool].schema_of(parameter) if tool in self.by_name else {}
        return value_of_text(text, schema)


NO_TOOLS = Tools({})


def value_of_text(text: str, schema: JsonObject) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value that a text without quotes stands for, by its schema."""
    types = types_of(schema)
    if types == {"string"}:
        return text
    try:
        value = _read_unquoted(text.strip())
    except ValueError:
        return text
    is_wanted = not types or _fits(value, types)
    return value if is_wanted or "string" not in types else text


def types_of(schema: JsonObject) -> frozenset[str]:
    """Return the JSON types that a schema names; empty when it names none."""
    stated = schema.get("type")
    if isinstance(stated, str):
        return frozenset({stated})
    if isinstance(stated, Sequence):
        return frozenset(filter(lambda name: isinstance(name, str), stated))
    if isinstance(schema.get("enum"), Sequence):
        return frozenset(_TYPES_OF_PYTHON.get(type(value), "object") for value in schema["enum"])
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), Sequence):
            branches = [types_of(part) for part in schema[key] if isinstance(part, Mapping)]
            return frozenset().union(*branches) if all(branches) else frozenset()
    return frozenset()


def read_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON text.

    Raises:
        ValueError: it is none, or nests deeper than is read.
    """
    value, end = read_json_at(text, 0)
    if text[end:].strip():
        raise ValueError("more than one value")
    return value


def read_json_at(text: str, start: int) -> tuple[Any, int]:
    """Return the JSON value that begins at ``start``, after blanks, and where it ends.

    Raises:
        ValueError: there is none, or it nests deeper than is read.
    """
    try:
        value, end = _DECODER.raw_decode(text, skip_blanks(text, start))
    except RecursionError as error:
        raise ValueError("nests too deeply") from error
    return value, end


def skip_blanks(text: str, start: int) -> int:
    """Return where the next character stands that is no blank."""
    blanks = _BLANKS.match(text, start)
    return blanks.end() if blanks else start


def _read_unquoted(word: str) -> Any:  # noqa: ANN401 - any JSON value
    """Read JSON, or what Python prints for a value: templates print it, and models write it."""
    try:
        return json.loads(PYTHON_WORDS.get(word, word), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nests too deeply") from error
    except ValueError:
        if not word.startswith(("[", "{")):
            raise
    return read_literal(word)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_BLANKS = re.compile(r"\s*")
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _tool_of(definition: JsonObject) -> Tool | None:
    function = definition.get("function", definition)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return None
    parameters = function.get("parameters")
    if not isinstance(parameters, Mapping) or not parameters:
        return Tool(function["name"])
    return Tool(function["name"], parameters)


def _fits(value: Any, types: frozenset[str]) -> bool:  # noqa: ANN401
    kind = _TYPES_OF_PYTHON[type(value)]
    return kind in types or (kind == "integer" and "number" in types)
