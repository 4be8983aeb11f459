from __future__ import annotations

import json
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.server.middleware import bodies, timeouts, unread
from tests.fakes.starting import num_open
from tests.server.serving import Served, posted, serving
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK_S = 0.3


@pytest.fixture(scope="module")
def hasty() -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeouts, "HEAD_S", QUICK_S)
        patch.setattr(timeouts, "READ_S", QUICK_S)
        patch.setattr(bodies, "TIMEOUT_S", QUICK_S)
        patch.setattr(unread, "TIMEOUT_S", QUICK_S)
        with serving() as found:
            yield found


@contextmanager
def connected(served: Served) -> Iterator[socket.socket]:
    url = httpx.URL(served.url)
    with socket.create_connection((url.host, url.port or 0), timeout=HANG_S) as sock:
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
    with connected(hasty) as sock:
        sock.sendall(before + b"GET / HTTP/1.1\r\nX: ")

        def is_cut_off() -> bool:
            try:
                sock.sendall(b"a")
            except (BrokenPipeError, ConnectionResetError):
                return True
            return False

        wait_until(is_cut_off, poll_s=0.02)


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
    body = {"model": "fake", "raw": True, "prompt": "flood", "stream": True}
    with posted(hasty, "/api/generate", body) as sock:
        assert b" 200 " in sock.recv(20)
        wait_until(lambda: num_open(hasty.pool) == 0)


def test_a_slow_answer_is_not_the_clients_fault(hasty: Served) -> None:
    """The head is read: what the server does then has time."""
    body = {"model": "fake", "messages": [{"role": "user", "content": "hang"}]}
    with posted(hasty, "/api/chat", body) as sock:
        found = b""
        while b"..." not in found:
            found += sock.recv(65536)
        sock.settimeout(3 * QUICK_S)
        with pytest.raises(TimeoutError):  # nothing came, not even an end
            sock.recv(1)
