"""Vectors as text: lists of numbers, or base64 of their bytes. No numpy here."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import TYPE_CHECKING

from fastapi.responses import Response

if TYPE_CHECKING:
    from localrun.server.fields import JsonObject

FLOAT_BYTES = 4


def numbers(vector: bytes) -> list[float]:
    """Return the numbers of a vector: float32, little-endian."""
    return list(struct.unpack(f"<{len(vector) // FLOAT_BYTES}f", vector))


def in_base64(vector: bytes) -> str:
    """Return a vector's bytes as base64, the form that OpenAI's client programs ask for."""
    return base64.b64encode(vector).decode()


async def large_json(body: JsonObject) -> Response:
    """Return a response of many numbers, written in a thread: it takes a second for a million."""
    content = await asyncio.to_thread(json.dumps, body, separators=(",", ":"))
    return Response(content, media_type="application/json")
