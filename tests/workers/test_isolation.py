"""A worker without a network has a loopback; if that is not allowed, it keeps its network."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.waiting import HANG_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")

# Prints the note and the namespaces that this process has left, and connects to its own loopback.
# `_unshare` also works where the system forbids it: the loopback alone fails.
SCRIPT = """
import contextlib, os, socket
from localrun.workers import isolation

left = []
unshare = isolation._unshare

def unshare_and_record(user, group):
    left.append(os.getpid())
    with contextlib.suppress(OSError):
        unshare(user, group)

def fail(*_):
    {failure}

isolation._unshare, isolation._start_loopback = unshare_and_record, fail
print(isolation.give_up_network(), left)
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), 5).close()
"""


@pytest.mark.parametrize(
    "failure",
    ["raise PermissionError(1, os.strerror(1))", "os.kill(os.getpid(), 31)"],
    ids=["refused", "killed"],
)
def test_a_process_whose_loopback_cannot_start_keeps_its_network(failure: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(failure=failure)],
        check=False, capture_output=True, text=True, timeout=HANG_S,
    )  # fmt: skip

    assert done.stdout.strip() == "the system does not allow it: Operation not permitted []"
    assert (done.returncode, done.stderr) == (0, "")
