"""Vectors as text: lists of numbers, or base64 of their bytes. No numpy here."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import TYPE_CHECKING

from fastapi.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.server.parsing.fields import JsonObject

FLOAT_BYTES = 4
AT_ONCE = 4096  # items of a list that are encoded at once: a millisecond
CHARACTERS_AT_ONCE = 256 * 1024  # of a text


def numbers(vector: bytes) -> list[float]:
    """Return the numbers of a vector: float32, little-endian."""
    return list(struct.unpack(f"<{len(vector) // FLOAT_BYTES}f", vector))


def in_base64(vector: bytes) -> str:
    """Return a vector's bytes as base64, the form that OpenAI's client programs ask for."""
    return base64.b64encode(vector).decode()


async def large_json(body: JsonObject) -> Response:
    """Return a response of many values, written in a thread: it takes a second for a million.

    A few values at a time, since the encoder holds the interpreter lock (GIL) to its end.
    """
    content = await asyncio.to_thread(lambda: "".join(_json(body)).encode())
    return Response(content, media_type="application/json")


def _json(value: object) -> Iterator[str]:
    """Yield a value as JSON in pieces: item by item, and a part of a long list or text."""
    if isinstance(value, dict):
        for place, (name, item) in enumerate(value.items()):
            yield f"{',' if place else '{'}{json.dumps(name)}:"
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
    for start in range(0, len(items), 1 if has_parts else AT_ONCE):
        yield "," if start else ""
        if has_parts:
            yield from _json(items[start])
        else:
            yield json.dumps(items[start : start + AT_ONCE], separators=(",", ":"))[1:-1]
    yield "]"
