"""Streams whose chunks are sent together: the interval of a request, and the order of chunks."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.errors import UsageError
from localrun.server.pacing import HEADER, PacedSender, requested_interval_s

if TYPE_CHECKING:
    from tests.server.serving import Served

LONG_S = 3600.0  # an interval that no test waits for
CHUNKS = [b"a", b"b", b"c"]


def test_chunks_are_joined_until_the_stream_is_finished() -> None:
    sent = asyncio.run(sent_chunks(LONG_S))

    assert sent == [b"abc"]


def test_without_an_interval_each_chunk_is_sent_at_once() -> None:
    sent = asyncio.run(sent_chunks(0.0))

    assert sent == CHUNKS


async def sent_chunks(interval_s: float) -> list[bytes]:
    sent: list[bytes] = []

    async def send(chunk: bytes) -> None:
        sent.append(chunk)

    sender = PacedSender(send, interval_s)
    for chunk in CHUNKS:
        await sender.add(chunk)
    await sender.finish()
    return sent


def test_an_interval_that_is_over_sends_what_waits() -> None:
    async def first_sent() -> bytes:
        sent: asyncio.Queue[bytes] = asyncio.Queue()
        sender = PacedSender(sent.put, 0.001)
        await sender.add(b"a")
        return await sent.get()

    assert asyncio.run(first_sent()) == b"a"


def test_chunks_that_come_while_others_are_sent_are_sent_after_them() -> None:
    async def sent() -> list[bytes]:
        chunks: list[bytes] = []
        is_sending, may_end = asyncio.Event(), asyncio.Event()

        async def send(chunk: bytes) -> None:
            is_sending.set()
            await may_end.wait()
            chunks.append(chunk)

        sender = PacedSender(send, 0.001)
        await sender.add(b"a")
        await is_sending.wait()
        await sender.add(b"b")
        may_end.set()
        await sender.finish()
        return chunks

    assert asyncio.run(sent()) == [b"a", b"b"]


@pytest.mark.parametrize("value", ["-1", "1001", "x", "", "1.5", "²", "9" * 5000])
def test_an_interval_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="0 to 1000"):
        requested_interval_s({HEADER: value})


def test_an_answer_is_the_same_in_fewer_chunks(served: Served) -> None:
    url, sentence = f"{served.url}/api/chat", "say a b c d e f"
    body = {"model": "fake", "messages": [{"role": "user", "content": sentence}]}
    headers = {HEADER: "1000"}

    with httpx.stream("POST", url, json=body, headers=headers) as response:
        lines = [json.loads(line) for line in response.iter_lines()]

    assert "".join(line["message"]["content"] for line in lines) == "a b c d e f"
    assert lines[-1]["done"] is True


def test_an_error_in_the_middle_follows_what_was_said(served: Served) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "die"}]}

    response = httpx.post(f"{served.url}/api/chat", json=body, headers={HEADER: "1000"})

    first, last = (json.loads(line) for line in response.text.splitlines())
    assert first["message"]["content"] == "half"
    assert "error" in last


def test_a_wrong_interval_is_an_error_of_the_request(served: Served) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "say hi"}]}

    response = httpx.post(f"{served.url}/api/chat", json=body, headers={HEADER: "soon"})

    assert response.status_code == 400
    assert "X-Localrun-Interval-Ms" in response.json()["error"]
