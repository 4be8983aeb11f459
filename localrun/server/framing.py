r"""Framing of streamed answers: server-sent events (SSE) and newline-delimited JSON (NDJSON).

The only writer of both formats. Text is UTF-8, not escaped to ASCII. A keep-alive is a piece of
the format that its readers skip: a comment among events; among lines of JSON a space, which is
white space before the next value.

    data: {...}\n\n                              an event (OpenAI)
    event: message_stop\ndata: {...}\n\n        an event with a name (Responses, Anthropic)
    {...}\n                                      a line (Ollama)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from localrun.runner.messages import JsonObject

DONE = b"data: [DONE]\n\n"  # the last event of OpenAI's streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """A stream format: its media type, its keep-alive, and the encoding of one object."""

    media_type: str
    keep_alive: bytes
    encode: Callable[[JsonObject], bytes]


def sse_event(body: JsonObject) -> bytes:
    """Return a server-sent event without a name."""
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def named_sse_event(body: JsonObject) -> bytes:
    """Return a server-sent event that is named by the ``type`` of its object."""
    return f"event: {body['type']}\n".encode() + sse_event(body)


def named_sse_events(bodies: Iterable[JsonObject]) -> bytes:
    """Return several named events as one piece of a stream."""
    return b"".join(map(named_sse_event, bodies))


def ndjson_line(body: JsonObject) -> bytes:
    """Return an object as one line of JSON."""
    return json.dumps(body, ensure_ascii=False).encode() + b"\n"


SSE = Framing(
    media_type="text/event-stream", keep_alive=b": localrun is at work\n\n", encode=sse_event
)
NAMED_SSE = Framing(media_type=SSE.media_type, keep_alive=SSE.keep_alive, encode=named_sse_event)
NDJSON = Framing(media_type="application/x-ndjson", keep_alive=b" ", encode=ndjson_line)
