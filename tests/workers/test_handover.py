from __future__ import annotations

import sys

assert sys.platform != "win32"  # elsewhere no socket can be handed over

import socket

import pytest

from localrun.runner.frames import encode, read_messages
from localrun.runner.messages import Load, Ping
from localrun.workers.handover import receive_links, send_with_links

LOAD = Load(model_paths=("x" * 20_000,), workers=("ssh gpu1", "ssh gpu2"))


@pytest.mark.parametrize("num_links", [0, 2])
def test_links_come_with_the_first_message(num_links: int) -> None:
    ours, theirs = socket.socketpair()
    pairs = [socket.socketpair() for _ in range(num_links)]

    send_with_links(ours, encode(LOAD), [own for own, _ in pairs])
    ours.sendall(encode(Ping()))
    ours.close()
    head, links = receive_links(theirs)

    assert list(read_messages(theirs, head)) == [LOAD, Ping()]
    assert len(links) == num_links
    for link, (own, far) in zip(links, pairs, strict=True):
        own.close()
        link.sendall(b"hi")
        assert far.recv(2) == b"hi"
        link.close()
        assert far.recv(1) == b""  # nobody else has it open
        far.close()
    theirs.close()


def test_a_server_that_ended_sends_nothing() -> None:
    ours, theirs = socket.socketpair()
    ours.close()

    head, links = receive_links(theirs)

    assert (head, links) == (b"", [])
    assert list(read_messages(theirs, head)) == []
    theirs.close()
