"""Tools of a request: names and parameter schemas.

Built from definitions in OpenAI's shape. The schemas come from clients and may be malformed:
a malformed part counts as absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

JsonObject = Mapping[str, Any]

_SHARED_DEFINITIONS = ("$defs", "definitions")  # the targets of "$ref"


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    parameters: JsonObject = field(default_factory=lambda: {"type": "object", "properties": {}})

    @property
    def properties(self) -> dict[str, JsonObject]:
        """The schema of each parameter, with the shared definitions that it may refer to."""
        shared = {
            key: self.parameters[key] for key in _SHARED_DEFINITIONS if key in self.parameters
        }
        properties = self.parameters.get("properties")
        if not isinstance(properties, Mapping):
            return {}
        return {
            name: {**schema, **shared} if isinstance(schema, Mapping) else shared
            for name, schema in properties.items()
        }

    def schema_of(self, parameter: str) -> JsonObject:
        """Return the schema of a parameter without shared definitions; empty if it has none."""
        properties = self.parameters.get("properties")
        schema = properties.get(parameter) if isinstance(properties, Mapping) else None
        return schema if isinstance(schema, Mapping) else {}

    def requires(self, parameter: str) -> bool:
        """Return whether the schema requires a parameter."""
        required = self.parameters.get("required")
        return isinstance(required, Sequence) and parameter in required


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of a request, by name."""

    by_name: Mapping[str, Tool]

    @classmethod
    def of(cls, definitions: Sequence[JsonObject]) -> Tools:
        """Return the tools of definitions in OpenAI's shape; skip a definition without a name."""
        tools = [_tool_of(definition) for definition in definitions]
        return cls({tool.name: tool for tool in tools if tool is not None})


NO_TOOLS = Tools({})


def _tool_of(definition: JsonObject) -> Tool | None:
    function = definition.get("function", definition)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return None
    parameters = function.get("parameters")
    if not isinstance(parameters, Mapping) or not parameters:
        return Tool(function["name"])
    return Tool(function["name"], parameters)
