"""Answers that come before the body is read reach clients that read only when all is sent."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.server.middleware import unread
from localrun.server.middleware.keys import Keys
from localrun.server.middleware.unread import UnreadBody
from tests.server.middleware.test_timeouts import connected, read_to_end
from tests.server.serving import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Message, Scope

LARGE = 6 * 1024 * 1024  # more than sockets buffer
JSON_HEAD = {"Host": "localhost", "Content-Length": str(LARGE)}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Served]:
    with serving(keys=Keys({"key": "someone"})) as found:
        yield found


def head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def send_then_read(served: Served, path: str, headers: dict[str, str], num_bytes: int) -> bytes:
    """Send all of a request, close the sending side, and only then read."""
    with connected(served) as sock:
        sock.sendall(head("POST", path, {**JSON_HEAD, **headers}))
        for _ in range(num_bytes // 65536):
            sock.sendall(b" " * 65536)
        sock.shutdown(socket.SHUT_WR)
        return read_to_end(sock)


@pytest.mark.parametrize("closing", [{}, {"Connection": "close"}])
@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/chat", {"Origin": "https://evil.example"}, b"403"),
        ("/api/chat", {"Host": "evil.example"}, b"403"),
        ("/nosuch", {}, b"404"),
        ("/api/tags", {}, b"405"),
        ("/api/chat", {"Content-Encoding": "br"}, b"415"),
        ("/api/blobs/nosuch", {}, b"400"),
        ("/v1/chat/completions", {"Content-Length": str(40 * 1024 * 1024)}, b"413"),
    ],
)
def test_an_early_answer_reaches_who_sends_all_first(
    served: Served, path: str, headers: dict[str, str], closing: dict[str, str], status: bytes
) -> None:
    size = int(headers.get("Content-Length", LARGE))

    answer = send_then_read(served, path, headers | closing, size)

    assert answer.startswith(b"HTTP/1.1 " + status), answer[:200]


def test_a_client_without_a_key_gets_its_answer(guarded: Served) -> None:
    assert send_then_read(guarded, "/api/chat", {}, LARGE).startswith(b"HTTP/1.1 401")


def test_the_connection_lives_on_when_the_body_was_read(served: Served) -> None:
    with connected(served) as sock:
        sock.sendall(head("POST", "/nosuch", JSON_HEAD) + b" " * LARGE)
        sock.sendall(head("GET", "/healthz", {"Host": "localhost", "Connection": "close"}))

        answer = read_to_end(sock)

    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.endswith(b'{"status":"ok"}')


def test_an_answer_comes_before_the_rest_of_the_body(served: Served) -> None:
    with connected(served) as sock:
        sock.sendall(head("POST", "/nosuch", JSON_HEAD) + b" " * 10)

        assert sock.recv(65536).startswith(b"HTTP/1.1 404")


class Sending:
    """A client that sends for ever; counts what is taken of it."""

    def __init__(self, chunk: bytes = bytes(65536)) -> None:
        self.chunk = chunk
        self.num_bytes = 0
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        self.num_bytes += len(self.chunk)
        return {"type": "http.request", "body": self.chunk, "more_body": True}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def answer(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Answer at once."""
        scope: Scope = {"headers": headers, "state": {}}

        async def app() -> None:
            body = UnreadBody(scope, self.receive, self.send)
            await body.send({"type": "http.response.start", "status": 401, "headers": []})
            await body.send({"type": "http.response.body", "body": b"no"})

        asyncio.run(app())


@pytest.mark.parametrize(
    "headers",
    [
        [(b"transfer-encoding", b"chunked")],
        [(b"content-length", str(1 << 40).encode())],
    ],
)
def test_an_enormous_body_is_answered_read_up_to_a_bound_and_closed(
    headers: list[tuple[bytes, bytes]],
) -> None:
    client = Sending()

    client.answer(headers)

    assert (b"connection", b"close") in client.sent[0]["headers"]
    assert [message.get("body") for message in client.sent] == [None, b"no", b""]
    assert client.num_bytes <= unread.MAX_UNREAD_BYTES + 2 * len(client.chunk)


def test_a_slow_body_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "TIMEOUT_S", 0.0)
    client = Sending(b"")

    client.answer([(b"content-length", b"10")])

    assert client.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"0")]])
def test_nothing_is_read_of_a_request_without_a_body(headers: list[tuple[bytes, bytes]]) -> None:
    client = Sending()

    client.answer(headers)

    assert (client.num_bytes, len(client.sent)) == (0, 2)


def test_what_httpx_sends_is_answered(served: Served) -> None:
    answer = httpx.post(f"{served.url}/nosuch", content=bytes(LARGE), timeout=30)

    assert answer.status_code == 404
