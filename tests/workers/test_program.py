"""`localrun worker` as a program: what it refuses, and what it states about its network."""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # elsewhere there are no workers

import os
import subprocess

import pytest

from localrun.services.machine.workers import has_rpc
from localrun.workers.hello import PROTOCOL, WorkerHello
from tests.program import PROGRAM
from tests.waiting import HANG_S


def test_a_terminal_is_refused() -> None:
    theirs, ours = os.openpty()
    done = subprocess.run(
        [*PROGRAM, "worker"], check=False, stdin=ours, stdout=ours, stderr=subprocess.PIPE,
        timeout=HANG_S,
    )  # fmt: skip
    os.close(theirs)
    os.close(ours)

    assert done.returncode == 2
    assert b"speaks to another localrun, not to a terminal" in done.stderr
    assert b"localrun serve --worker" in done.stderr


@pytest.mark.skipif(not has_rpc(), reason="llama.cpp has no RPC backend")
def test_the_hello_has_the_protocol_of_the_library_and_the_bounds_of_the_user() -> None:
    words = [*PROGRAM, "worker", "--memory", "1G", "--threads", "3", "--device", "cpu"]
    done = subprocess.run(
        words, check=False, input=b"status\n", capture_output=True, timeout=HANG_S
    )
    first, second = (WorkerHello.parse(line) for line in done.stdout.splitlines())

    assert first.protocol == PROTOCOL
    assert first.threads == 3
    assert all(0 < device.free_bytes <= 10**9 for device in (*first.devices, *second.devices))
    assert first.has_network == bool(first.network_note)


def test_a_device_that_does_not_exist_is_an_error_and_no_hello() -> None:
    words = [*PROGRAM, "worker", "--device", "toaster"]
    done = subprocess.run(words, check=False, input=b"", capture_output=True, timeout=HANG_S)

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"toaster is not the name of a device" in done.stderr
