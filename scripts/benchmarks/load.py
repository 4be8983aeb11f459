"""Low-overhead client for benchmarks: streamed chats over sockets, with the time of each event.

Events are kept as bytes and parsed at the end, because client and servers share the cores: a client
that parses JSON while it measures would slow the faster server more.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

EVENT, LAST = b"data: ", b"[DONE]"
STARTED = 8  # events after which the rate of a stream is even
SAMPLING = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "seed": 7}


class RefusedError(Exception):
    """The server answered with an error: it does not support the row."""


@dataclass(slots=True)
class Answer:
    """One streamed answer; times are seconds on the monotonic clock."""

    sent_at: float
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    @property
    def times(self) -> list[float]:
        """Return the times of events with text."""
        return [at for at, event in self.events if _text(event)]

    @property
    def token_times(self) -> list[float]:
        """Return the time of each token: an event has as many as its share of the text, or one."""
        events = [(at, len(_text(event))) for at, event in self.events if _text(event)]
        num_chars = sum(length for _, length in events)
        return [
            at
            for at, length in events
            for _ in range(max(1, round(self.tokens * length / num_chars)))
        ]

    @property
    def text(self) -> str:
        """Return the text of the answer."""
        return "".join(_text(event) for _, event in self.events)

    @property
    def first_s(self) -> float:
        """Return the time to the first text."""
        return self.times[0] - self.sent_at

    @property
    def first_at(self) -> float:
        """Return the time of the first text, or of the end of an answer without text."""
        return (self.times or [self.ended_at])[0]

    @property
    def ended_at(self) -> float:
        """Return the time of the last event."""
        return self.events[-1][0]

    @property
    def tokens(self) -> int:
        """Return the number of generated tokens, as the server counts them."""
        return int(self._usage["completion_tokens"])

    @property
    def prompt_tokens(self) -> int:
        """Return the number of prompt tokens, as the server counts them."""
        return int(self._usage["prompt_tokens"])

    @property
    def _usage(self) -> dict[str, int]:
        usage: dict[str, int] = next(
            event["usage"] for _, event in reversed(self.events) if event.get("usage")
        )
        return usage


def ask_all(port: int, bodies: Sequence[dict[str, Any]]) -> list[Answer]:
    """Send all requests at once; return their answers when all have ended."""

    async def together() -> list[Answer]:
        return await asyncio.gather(*(chat(port, body) for body in bodies))

    return asyncio.run(together())


async def chat(port: int, body: dict[str, Any], started: asyncio.Event | None = None) -> Answer:
    """Return the answer of one streamed chat; ``started`` is set after `STARTED` events.

    Raises:
        RefusedError: the server answered with an error.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    raw: list[tuple[float, bytes]] = []
    content = _request(body)  # a photo takes ten milliseconds, which are not the server's
    sent_at = time.monotonic()
    try:
        writer.write(content)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise RefusedError(_message(await reader.read(1 << 16)))
        async for chunk in _chunks(reader):
            now = time.monotonic()
            raw += [(now, line) for line in chunk.split(b"\n") if line.startswith(EVENT)]
            if started is not None and len(raw) > STARTED:
                started.set()
    finally:
        writer.close()
    events = [(at, json.loads(line[len(EVENT) :])) for at, line in raw if LAST not in line]
    failed = next((event["error"] for _, event in events if "error" in event), None)
    if failed is not None:
        raise RefusedError(str(failed))
    return Answer(sent_at, events)


def request(messages: Sequence[dict[str, Any]], tokens: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """Return the body of a request for exactly ``tokens`` tokens, with usual sampling."""
    return {
        "model": "bench",
        "messages": messages,
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
        "chat_template_kwargs": {"enable_thinking": False},
        **SAMPLING,
        **more,
    }


def user(text: str) -> list[dict[str, str]]:
    """Return a conversation of one message."""
    return [{"role": "user", "content": text}]


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the decoded body in whole lines, which may span HTTP chunks."""
    held = b""
    while size := int(await reader.readline(), 16):
        held += (await reader.readexactly(size + 2))[:-2]
        end = held.rfind(b"\n") + 1
        yield held[:end]
        held = held[end:]


def _request(body: dict[str, Any]) -> bytes:
    payload = json.dumps(body).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


def _message(body: bytes) -> str:
    """Return the message of an error response in one line."""
    text = body.decode(errors="replace")
    start = text.find("{")
    try:
        return str(json.JSONDecoder().raw_decode(text[start:])[0]["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()[:200]


def _text(event: dict[str, Any]) -> str:
    choices = event.get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    return delta.get("content") or delta.get("reasoning_content") or ""
