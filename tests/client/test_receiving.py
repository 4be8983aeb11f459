from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from localrun.client.receiving import ReceivedStream
from tests.waiting import HANG_S

assert sys.platform != "win32"

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    client, server = socket.socketpair()
    with client, server:
        yield client, server


def test_a_read_returns_what_has_arrived_and_nothing_at_the_end(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    client, server = ends
    client.settimeout(HANG_S)
    stream = ReceivedStream(client)
    server.sendall(b"hello")
    server.shutdown(socket.SHUT_WR)

    assert [stream.read(100), stream.read(100)] == [b"hello", b""]


def test_a_read_ends_with_the_time_limit(ends: tuple[socket.socket, socket.socket]) -> None:
    client, _server = ends
    client.settimeout(0.01)

    with pytest.raises(TimeoutError):
        ReceivedStream(client).read(1)


class InterruptedSocket(socket.socket):
    """Socket whose reads an interrupt does not wake, as one that comes just before."""

    def recv_into(self, *arguments: Any) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            signal.raise_signal(signal.SIGINT)  # to this thread: another would take it at once
            return super().recv_into(*arguments)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@pytest.mark.parametrize("limit_s", [None, HANG_S])
def test_an_interrupt_that_wakes_no_read_is_noticed_after_a_step(
    ends: tuple[socket.socket, socket.socket], limit_s: float | None
) -> None:
    with InterruptedSocket(fileno=ends[0].detach()) as client:
        client.settimeout(limit_s)

        with pytest.raises(KeyboardInterrupt):
            ReceivedStream(client).read(1)
