"""Short words for JSON Schema and for OpenAPI's operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.modelfile.known import KNOWN, OVERFLOWS
from localrun.server.parsing.limits import MOST_BREAKERS
from localrun.server.parsing.options import SAMPLING

if TYPE_CHECKING:
    from collections.abc import Mapping

Schema = dict[str, Any]
Operation = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
WHOLE: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
POSITIVE: Schema = {"type": "integer", "minimum": 1}
NUMBER: Schema = {"type": "number"}
OBJECT: Schema = {"type": "object"}
ANYTHING: Schema = {}
MODEL: Schema = {"type": "string", "minLength": 1, "examples": ["guide"]}
TIME: Schema = {"type": "string", "format": "date-time"}
TOKEN: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}


def ref(name: str) -> Schema:
    """Return a reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def maybe(schema: Schema) -> Schema:
    """Allow null."""
    return {"anyOf": [schema, {"type": "null"}]}


def either(*schemas: Schema) -> Schema:
    """Allow any of some schemas."""
    return {"anyOf": list(schemas)}


def one_of(*values: object) -> Schema:
    """Allow these values."""
    return {"enum": list(values)}


def listed(item: Schema, **bounds: int) -> Schema:
    """Return a list of items."""
    return {"type": "array", "items": item, **bounds}


def record(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """Return an object of an answer; optional members may be absent, and are not null."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def request(required: Mapping[str, Schema], optional: Mapping[str, Schema]) -> Schema:
    """Return the object of a request: what is optional may be null, what is unknown passes."""
    return record(required, {name: maybe(schema) for name, schema in optional.items()})


def sampling() -> dict[str, Schema]:
    """Return the fields that say how tokens are drawn, with their bounds."""
    types = {"int": "integer", "float": "number"}
    known = (KNOWN[name] for name in SAMPLING)
    bounded: dict[str, Schema] = {
        one.name: {"type": types[one.kind], "minimum": one.low, "maximum": one.high}
        for one in known
    }
    return {
        **bounded,
        "dry_sequence_breakers": either(TEXT, listed(TEXT, maxItems=MOST_BREAKERS)),
        "speculative.n_max": COUNT,
        "ignore_eos": FLAG,
    }


def shared() -> dict[str, Schema]:
    """Return the fields of ours that all APIs take."""
    return {
        "num_ctx": POSITIVE,
        "keep_alive": either(TEXT, NUMBER),
        "overflow": one_of(*OVERFLOWS),
        "num_keep": {"type": "integer", "minimum": -1},
    }


def operation(
    summary: str,
    *,
    body: Schema | None = None,
    answer: Schema | None = None,
    stream: str | None = None,
    errors: str = "Error",
    status: int = 200,
) -> Operation:
    """Return an operation on JSON; ``stream`` is the media type of a streamed answer."""
    content: Schema = {} if answer is None else json_content(answer)
    if stream is not None:
        content[stream] = {}  # many documents, of which a schema of 3.1 cannot speak
    success: Schema = {"description": "success"}
    if content:
        success["content"] = content
    failure = {"description": "an error", "content": json_content(ref(errors))}
    found: Operation = {
        "summary": summary,
        "responses": {str(status): success, "4XX": failure, "5XX": failure},
    }
    if body is not None:
        found["requestBody"] = {"required": True, "content": json_content(body)}
    return found


def json_content(schema: Schema) -> Schema:
    """Return the content of a body of JSON."""
    return {"application/json": {"schema": schema}}
