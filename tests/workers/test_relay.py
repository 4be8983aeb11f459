"""Both ends of a link, with an echo in place of llama.cpp's server."""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # elsewhere there are no workers

import contextlib
import os
import queue
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from localrun.workers import serving
from localrun.workers.link import CHUNK_BYTES, HEAD, data_head, pulse
from localrun.workers.relay import WorkerRelay, is_own
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="no sockets of packets")
LARGE = os.urandom(3_000_000)


@dataclass
class Near:
    """A runner's end, and the bare other end of its link."""

    limit_s: float = HANG_S
    reasons: queue.Queue[str] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        link, self.far = socket.socketpair()
        self.relay = WorkerRelay(link, self.reasons.put, self.limit_s)
        self.connections: list[socket.socket] = []

    def connect(self) -> socket.socket:
        host, _, port = self.relay.endpoint.partition(":")
        connection = socket.create_connection((host, int(port)), HANG_S)
        self.connections.append(connection)
        return connection

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.connect()  # wakes a relay that waits for it
        self.relay.close()
        for end in (self.far, *self.connections):
            end.close()

    def reason(self) -> str:
        return self.reasons.get(timeout=HANG_S)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Let the next test begin when no thread has a file whose number it may get."""
    yield
    wait_for_threads("worker-relay", "_client)")


def wait_for_threads(*names: str) -> None:
    wait_until(lambda: not any(thread.name.endswith(names) for thread in threading.enumerate()))


@pytest.fixture
def near() -> Iterator[Near]:
    found = Near()
    yield found
    found.close()


def echo_server() -> socket.socket:
    """Return a connection to a server that sends back what it receives."""
    listener = socket.create_server(("127.0.0.1", 0))

    def echo() -> None:
        with listener, listener.accept()[0] as connection:
            while data := connection.recv(1 << 20):
                connection.sendall(data)

    threading.Thread(target=echo, daemon=True).start()
    return socket.create_connection(listener.getsockname())


def received(sock: socket.socket, num_bytes: int) -> bytes:
    parts = b""
    while len(parts) < num_bytes:
        part = sock.recv(1 << 20)
        assert part
        parts += part
    return parts


def test_bytes_arrive_in_both_directions(near: Near) -> None:
    pipes = serving.Pipes(near.far.fileno(), near.far.fileno())
    server = echo_server()
    relaying = threading.Thread(target=serving.relay, args=(pipes, server), daemon=True)
    relaying.start()

    with near.connect() as connection:
        sender = threading.Thread(target=connection.sendall, args=(LARGE,))
        sender.start()
        assert received(connection, len(LARGE)) == LARGE
        sender.join()
    relaying.join(HANG_S)  # llama.cpp has left
    server.shutdown(socket.SHUT_RDWR)
    wait_for_threads("_client)")
    server.close()

    assert near.reasons.empty()


def check_frames(packets: socket.socket, num_bytes: int) -> None:
    """Check that each packet is one frame of at most a chunk."""
    while num_bytes > 0:
        packet = packets.recv(1 << 20)
        (size,) = HEAD.unpack_from(packet)
        assert size == len(packet) - HEAD.size <= CHUNK_BYTES
        num_bytes -= size


@only_linux
def test_a_runner_sends_each_frame_at_once() -> None:
    link, far = packet_pair()
    relay = WorkerRelay(link, lambda _reason: None)
    host, _, port = relay.endpoint.partition(":")
    with socket.create_connection((host, int(port))) as connection, far:
        sender = threading.Thread(target=connection.sendall, args=(LARGE,))
        sender.start()
        check_frames(far, len(LARGE))
        sender.join()
    relay.close()


@only_linux
def test_a_worker_sends_each_frame_at_once() -> None:
    output, packets = packet_pair()
    theirs, ours = socket.socketpair()
    pipes = serving.Pipes(theirs.fileno(), output.fileno())
    near, far = socket.socketpair()
    relaying = threading.Thread(target=serving.relay, args=(pipes, near), daemon=True)
    relaying.start()
    sender = threading.Thread(target=far.sendall, args=(LARGE,))
    sender.start()

    check_frames(packets, len(LARGE))

    sender.join()
    for end in (far, ours):
        end.close()
    wait_for_threads("_client)")
    for end in (output, packets, theirs, near):
        end.close()


def packet_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends that keep each write apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def test_a_link_that_ends_is_reported(near: Near) -> None:
    near.connect()
    near.far.close()

    assert near.reason() == "it ended"


def test_a_link_that_ends_before_llama_cpp_connects_is_reported(near: Near) -> None:
    near.far.close()

    assert near.reason() == "it ended"


def test_garbage_is_reported(near: Near) -> None:
    near.far.sendall(b"bash: warning: setlocale")

    assert "something else than llama.cpp's protocol" in near.reason()


def test_silence_is_reported() -> None:
    near = Near(limit_s=0.05)

    assert "no sign of life" in near.reason()

    near.close()


def test_a_pulse_is_a_sign_of_life_with_the_processor_time(near: Near) -> None:
    near.far.sendall(pulse(1.5))
    wait_until(lambda: near.relay.cpu_s == 1.5)

    near.far.sendall(pulse(2.5) + data_head(2) + b"ok")
    with near.connect() as connection:
        assert received(connection, 2) == b"ok"

    assert near.relay.cpu_s == 2.5


def test_the_end_of_llama_cpp_is_no_loss(near: Near) -> None:
    with near.connect():
        wait_until(lambda: near.relay._connection is not None)

    assert near.far.recv(1) == b""
    near.far.close()
    assert near.reasons.empty()


def test_the_port_takes_one_connection(near: Near) -> None:
    with near.connect():
        near.far.sendall(data_head(1) + b"x")
        wait_until(lambda: near.relay._connection is not None)
        with pytest.raises(ConnectionRefusedError):
            near.connect()


def test_a_connection_of_another_process_is_known(near: Near) -> None:
    with near.connect() as connection:
        assert is_own(connection.getsockname()[1])
    if sys.platform == "linux":
        assert not is_own(1)


def test_llama_cpp_hears_of_nothing_before_a_loss_is_reported() -> None:
    link, far = socket.socketpair()
    reported, may_go_on = threading.Event(), threading.Event()

    def report(_reason: str) -> None:
        reported.set()
        may_go_on.wait(HANG_S)

    relay = WorkerRelay(link, report)
    host, _, port = relay.endpoint.partition(":")
    with socket.create_connection((host, int(port))) as connection:
        wait_until(lambda: relay._connection is not None)
        far.close()
        assert reported.wait(HANG_S)
        connection.sendall(b"x")  # which cannot be sent on
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        may_go_on.set()
        connection.settimeout(HANG_S)
        assert connection.recv(1) == b""
    relay.close()
