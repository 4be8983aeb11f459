from __future__ import annotations

import json
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.server import bodies, patience
from tests.fakes.starting import num_open
from tests.server.serving import Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 10


@pytest.fixture(scope="module")
def hasty() -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patience, "HEAD_S", 0.2)
        patch.setattr(patience, "READ_S", 0.2)
        patch.setattr(bodies, "PATIENCE_S", 0.2)
        with serving() as found:
            yield found


@contextmanager
def connected(served: Served) -> Iterator[socket.socket]:
    url = httpx.URL(served.url)
    with socket.create_connection((url.host, url.port or 0), timeout=PATIENCE_S) as sock:
        yield sock


def read_to_end(sock: socket.socket) -> bytes:
    found = b""
    try:
        while chunk := sock.recv(65536):
            found += chunk
    except ConnectionResetError:
        pass
    return found


def test_who_connects_and_says_nothing_is_let_go(hasty: Served) -> None:
    with connected(hasty) as sock:
        assert read_to_end(sock) == b""


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_head_that_never_ends_is_cut_off_however_often_a_byte_comes(
    hasty: Served, before: bytes
) -> None:
    begun = time.monotonic()
    with connected(hasty) as sock:
        sock.sendall(before + b"GET / HTTP/1.1\r\nX: ")
        try:
            while time.monotonic() - begun < PATIENCE_S:
                sock.sendall(b"a")
                time.sleep(0.02)
        except (BrokenPipeError, ConnectionResetError):
            pass

    assert time.monotonic() - begun < PATIENCE_S


def test_a_head_that_is_too_long_is_cut_off(hasty: Served) -> None:
    with connected(hasty) as sock:
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 5_000_000)

        assert b"200 OK" not in read_to_end(sock)


def test_a_body_that_comes_too_slowly_is_408_in_the_apis_shape(hasty: Served) -> None:
    with connected(hasty) as sock:
        sock.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Length: 99\r\n\r\n{"
        )
        answer = read_to_end(sock)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 408 " in head.splitlines()[0]
    assert json.loads(body)["error"]["code"] == "request_timeout"


def test_a_body_that_is_announced_too_large_is_refused_unread(hasty: Served) -> None:
    with connected(hasty) as sock:
        sock.sendall(
            b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Length: 99999999\r\n\r\n"
        )
        answer = read_to_end(sock)

    assert b" 413 " in answer.splitlines()[0]
    assert b"body_too_large" in answer


def test_who_asks_for_a_stream_and_does_not_read_it_is_cut_off(hasty: Served) -> None:
    body = json.dumps({"model": "fake", "raw": True, "prompt": "flood", "stream": True}).encode()
    head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    with connected(hasty) as sock:
        sock.sendall(head % len(body) + body)
        begun = time.monotonic()
        while num_open(hasty.pool) == 0 and time.monotonic() - begun < PATIENCE_S:
            time.sleep(0.01)
        while num_open(hasty.pool) and time.monotonic() - begun < PATIENCE_S:
            time.sleep(0.01)

        assert num_open(hasty.pool) == 0


def test_a_slow_answer_is_not_the_clients_fault(hasty: Served) -> None:
    """The head is read: what the server does then has time."""
    body = {"model": "fake", "messages": [{"role": "user", "content": "hang"}]}
    with httpx.Client(base_url=hasty.url, timeout=0.6) as client:
        assert client.get("/healthz").status_code == 200
        with client.stream("POST", "/api/chat", json=body) as response:
            lines = response.iter_lines()
            assert "..." in next(lines)
            with pytest.raises(httpx.ReadTimeout):  # nothing came, not even an end
                next(lines)
