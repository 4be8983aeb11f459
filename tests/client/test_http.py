"""Requests and responses as bytes, over a pair of sockets."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.client import http
from localrun.client.http import ProtocolError, ServerResponse, send_request
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@contextlib.contextmanager
def received(sent: bytes) -> Iterator[ServerResponse]:
    """Read a response whose connection closes after ``sent``."""
    client, server = socket.socketpair()
    with client, server:
        client.settimeout(HANG_S)
        server.sendall(sent)
        server.shutdown(socket.SHUT_WR)
        with contextlib.closing(ServerResponse(client)) as response:
            yield response


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)


def test_a_request_is_a_head_and_a_body() -> None:
    client, server = socket.socketpair()
    with client, server:
        send_request(client, "POST", "/api/chat", {"Host": "localhost:1"}, b"{}")
        sent = server.recv(1000)

    assert sent == b"POST /api/chat HTTP/1.1\r\nHost: localhost:1\r\nContent-Length: 2\r\n\r\n{}"


def test_a_header_with_a_line_break_is_never_sent() -> None:
    client, server = socket.socketpair()
    with client, server, pytest.raises(ValueError, match="line break"):
        send_request(client, "GET", "/", {"Authorization": "Bearer a\r\nX: y"}, None)


def test_a_body_has_the_length_that_its_head_announces() -> None:
    sent = HEAD + b"Content-Length: 5\r\nServer: nginx\r\n\r\nhello, and more"

    with received(sent) as response:
        assert (response.status, response.reason, response.read()) == (200, "OK", b"hello")
        assert response.headers["server"] == "nginx"


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    with received(HEAD + b"\r\nall of it") as response:
        assert response.read() == b"all of it"


def test_a_response_may_have_no_body() -> None:
    with received(b"HTTP/1.1 204 No Content\r\n\r\nnot a body") as response:
        assert response.read() == b""


def test_a_preliminary_response_is_passed_over() -> None:
    with received(b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"\r\nyes") as response:
        assert response.read() == b"yes"


def test_trailers_and_extensions_of_chunks_are_passed_over() -> None:
    sent = CHUNKED + b"3;x=y\r\nabc\r\n00\r\nTrailer: t\r\n\r\n"

    with received(sent) as response:
        assert response.read() == b"abc"


@given(st.lists(st.binary(max_size=8)), st.integers(1, 20))
def test_lines_are_those_of_the_text_for_any_chunks(pieces: list[bytes], size: int) -> None:
    text = b"\n".join(piece.replace(b"\n", b"") for piece in pieces)
    chunks = [text[start : start + size] for start in range(0, len(text), size)]

    with received(CHUNKED + chunked(chunks) + b"0\r\n\r\n") as response:
        lines = list(response.lines())

    assert lines == (text.removesuffix(b"\n").split(b"\n") if text else [])


def test_a_line_arrives_before_the_next_is_sent() -> None:
    client, server = socket.socketpair()
    with client, server:
        client.settimeout(HANG_S)
        server.sendall(CHUNKED + chunked([b"one\n"]))
        with contextlib.closing(ServerResponse(client)) as response:
            assert next(response.lines()) == b"one"


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        HEAD,
        HEAD + b"Half: a hea",
        HEAD + b"Long: " + b"x" * http.MAX_LINE_BYTES + b"\r\n\r\n",
        HEAD + b"A: b\r\n" * (http.MAX_LINES + 1) + b"\r\n",
    ],
)
def test_what_is_no_response_is_refused(sent: bytes) -> None:
    with pytest.raises(ProtocolError):
        with received(sent):
            pass


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 5\r\n\r\nhell",
        HEAD + b"Content-Length: -5\r\n\r\nhello",
        HEAD + b"Content-Length: \xb2\r\n\r\nhello",
        CHUNKED + b"5\r\nhell",
        CHUNKED + b"5\r\nhello",
        CHUNKED + b"4\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"fffffffffffffffffff\r\n",
        CHUNKED + b"0\r\n",
    ],
)
def test_a_body_that_ends_early_or_lies_is_refused(sent: bytes) -> None:
    with received(sent) as response, pytest.raises(ProtocolError):
        response.read()


def test_a_connection_that_is_closed_at_once_says_so() -> None:
    with pytest.raises(ConnectionResetError, match=re.escape("closed before")):
        with received(b""):
            pass


@pytest.mark.parametrize("read", [ServerResponse.read, lambda response: list(response.lines())])
def test_an_endless_body_has_an_end(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[ServerResponse], object]
) -> None:
    monkeypatch.setattr(http, "MAX_BODY_BYTES", 10)

    with received(CHUNKED + chunked([b"12345"] * 3)) as response:
        with pytest.raises(ProtocolError, match="too long"):
            read(response)
