"""Every text, list and object that an endpoint takes, by the server's own document.

A new field is covered as soon as ``/openapi.json`` names it.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tests.hostile.repetitions import ITEMS, OBJECTS, UNITS, deep_lists, list_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Kind = Literal["text", "list", "object"]
Step = str | int

DEEPEST = 12
MESSAGES = [{"role": "user", "content": "hi"}]
SAMPLES: dict[str, Any] = {  # what makes a request valid and short
    "model": "guide",
    "messages": MESSAGES,
    "max_tokens": 1,
    "max_output_tokens": 1,
    "stream": False,
    "tokens": [1],
    "query": "hi",
    "documents": ["hi"],
    "source": "guide",
    "destination": "copied",
    "role": "user",
    "name": "f",
}
SHORT = {"options": {"num_predict": 1}}  # of Ollama's requests
INPUTS = ("prompt", "input", "content")  # the first that an endpoint has makes it work
BEGUN: dict[str, Any] = {"/api/create": {"model": "made", "from": "guide", "stream": False}}
LEFT_OUT = {"/api/localrun/shutdown"}


@dataclass(frozen=True)
class Place:
    """A value in the body of a request."""

    method: str
    path: str
    steps: tuple[Step, ...]
    kind: Kind
    sample: Any = None  # an item of a list, by its schema

    @property
    def name(self) -> str:
        inner = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.steps)
        return f"{self.method} {self.path} {inner.removeprefix('.')}"

    def hostile_values(self) -> dict[str, Any]:
        """Return functions of a size by the names of what they repeat."""
        if self.kind == "text":
            return {name: _Text(name) for name in UNITS}
        if self.kind == "object":
            return dict(OBJECTS)
        items = {"items": self.sample, **ITEMS}
        return {name: _List(item) for name, item in items.items()} | {"deep lists": deep_lists}


@dataclass(frozen=True)
class _Text:
    name: str

    def __call__(self, num_bytes: int) -> str:
        return text_of(self.name, num_bytes)


@dataclass(frozen=True)
class _List:
    item: Any

    def __call__(self, num_bytes: int) -> list[Any]:
        return list_of(self.item, num_bytes)


class Document:
    """The places of ``/openapi.json``, and a body around each."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def places(self) -> list[Place]:
        """Return every place of every operation with a JSON body."""
        return [
            place
            for path, methods in self._document["paths"].items()
            for method, operation in methods.items()
            if path not in LEFT_OUT and (schema := _body_schema(operation)) is not None
            for place in self._below(Place(method.upper(), path, (), "object"), schema)
        ]

    def distinct_places(self) -> list[Place]:
        """Return the places of all operations but those that take what one before them does."""
        paths: dict[str, str] = {}
        for path, methods in self._document["paths"].items():
            for operation in methods.values():
                schema = _body_schema(operation)
                if schema is not None:
                    paths.setdefault(json.dumps(schema), path)
        known = set(paths.values())
        return [place for place in self.places() if place.path in known]

    def body(self, place: Place, value: Any) -> Any:
        """Return a request that would be answered but for the value at the place."""
        schema = _body_schema(self._document["paths"][place.path][place.method.lower()])
        body = copy.deepcopy(BEGUN.get(place.path) or self._sample(schema or {}))
        self._put(body, schema or {}, place.steps, value)
        return body

    def _below(self, place: Place, schema: Any, depth: int = 0) -> Iterator[Place]:
        for option in self._options(schema):
            kind = option.get("type")
            if kind == "string" or "enum" in option:
                yield _at(place, "text")
            elif kind == "array" and depth < DEEPEST:
                item = option.get("items", {})
                yield _at(place, "list", self._sample(item))
                yield from self._below(_inside(place, 0), item, depth + 1)
            elif kind == "object" and not option.get("properties"):
                yield _at(place, "object")
            elif kind == "object" and depth < DEEPEST:
                for name, inner in option["properties"].items():
                    yield from self._below(_inside(place, name), inner, depth + 1)

    def _options(self, schema: Any) -> list[Any]:
        """Return the schemas that a value may have."""
        schema = self._resolved(schema)
        if "anyOf" in schema:
            return [option for one in schema["anyOf"] for option in self._options(one)]
        return [schema]

    def _resolved(self, schema: Any) -> Any:
        if "$ref" in schema:
            return self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    def _sample(self, schema: Any) -> Any:
        option = self._options(schema)[0]
        if "enum" in option:
            return option["enum"][0]
        if option.get("type") == "object":
            known = option.get("properties", {})
            found = {name: self._sample_of(name, known.get(name, {})) for name in _needed(option)}
            return found | {name: copy.deepcopy(SHORT[name]) for name in SHORT if name in known}
        empty: dict[str | None, Any] = {"array": [], "string": "hi", "integer": 1, "number": 1}
        return empty.get(option.get("type"), {})

    def _sample_of(self, name: str, schema: Any) -> Any:
        options = self._options(schema)
        enums = [one["enum"] for one in options if "enum" in one]
        if name in SAMPLES and not (enums and SAMPLES[name] not in enums[0]):
            return copy.deepcopy(SAMPLES[name])
        return self._sample(schema)

    def _put(self, body: Any, schema: Any, steps: tuple[Step, ...], value: Any) -> None:
        """Set the value, and on the way what is not there."""
        step, *further = steps
        inner = self._inner(schema, step)
        if isinstance(step, int):
            body[:] = body[:1] or [None]
        if not further:
            body[step] = value
            return
        wanted = list if isinstance(further[0], int) else dict
        there = body[step] if isinstance(step, int) else body.get(step)
        if not isinstance(there, wanted):
            made = self._sample(self._option_for(inner, wanted))
            body[step] = made if isinstance(made, wanted) else wanted()
        self._put(body[step], self._option_for(inner, wanted), tuple(further), value)

    def _inner(self, schema: Any, step: Step) -> Any:
        for option in self._options(schema):
            if isinstance(step, int) and option.get("type") == "array":
                return option.get("items", {})
            if isinstance(step, str) and step in option.get("properties", {}):
                return option["properties"][step]
        return {}

    def _option_for(self, schema: Any, wanted: type) -> Any:
        name = "array" if wanted is list else "object"
        return next((one for one in self._options(schema) if one.get("type") == name), {})


def _needed(option: Any) -> list[str]:
    """Return the properties that a body gets: the required ones, and what keeps it short."""
    known = option.get("properties", {})
    needed = [*option.get("required", ())]
    needed += [name for name in ("max_tokens", "max_output_tokens", "stream") if name in known]
    if "messages" not in needed and "tokens" not in needed:
        needed += [name for name in INPUTS if name in known][:1]
    return list(dict.fromkeys(needed))


def _body_schema(operation: Any) -> Any | None:
    content = operation.get("requestBody", {}).get("content", {})
    found = content.get("application/json", {}).get("schema")
    return found if found and found != {"type": "object"} else None


def _at(place: Place, kind: Kind, sample: Any = None) -> Place:
    return Place(place.method, place.path, place.steps, kind, sample)


def _inside(place: Place, step: Step) -> Place:
    return Place(place.method, place.path, (*place.steps, step), place.kind)
