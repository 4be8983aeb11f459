"""Encoding of large JSON responses and of embedding vectors, without numpy.

Vectors are float32, little-endian; as JSON they are lists of numbers or base64 of their bytes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.runner.messages import JsonObject

FLOAT_BYTES = 4
ITEMS_AT_ONCE = 4096  # of a list, encoded in one call: a millisecond
CHARACTERS_AT_ONCE = 256 * 1024  # of a string


def numbers(vector: bytes) -> list[float]:
    """Return the numbers of a vector."""
    return list(struct.unpack(f"<{len(vector) // FLOAT_BYTES}f", vector))


def in_base64(vector: bytes) -> str:
    """Return the bytes of a vector as base64, which OpenAI's client libraries request."""
    return base64.b64encode(vector).decode()


async def large_json(body: JsonObject) -> Response:
    """Return a JSON response of many values, encoded in a thread: a million values take a second.

    The body is encoded in pieces, because one call of the encoder holds the interpreter lock (GIL).
    """
    content = await asyncio.to_thread(lambda: "".join(_json(body)).encode())
    return Response(content, media_type="application/json")


def _json(value: object) -> Iterator[str]:
    """Yield a value as JSON in pieces: item by item, long lists and strings in parts."""
    if isinstance(value, dict):
        for index, (name, item) in enumerate(value.items()):
            yield f"{',' if index else '{'}{json.dumps(name)}:"
            yield from _json(item)
        yield "}" if value else "{}"
    elif isinstance(value, list):
        yield from _list(value)
    elif isinstance(value, str) and len(value) > CHARACTERS_AT_ONCE:
        yield '"'
        for start in range(0, len(value), CHARACTERS_AT_ONCE):
            yield json.dumps(value[start : start + CHARACTERS_AT_ONCE])[1:-1]
        yield '"'
    else:
        yield json.dumps(value, separators=(",", ":"))


def _list(items: list[object]) -> Iterator[str]:
    has_parts = any(isinstance(item, dict | list) for item in items)
    yield "["
    for start in range(0, len(items), 1 if has_parts else ITEMS_AT_ONCE):
        yield "," if start else ""
        if has_parts:
            yield from _json(items[start])
        else:
            yield json.dumps(items[start : start + ITEMS_AT_ONCE], separators=(",", ":"))[1:-1]
    yield "]"
