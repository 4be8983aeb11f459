"""Children of a server: forks of the warm process, which look like new processes."""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from localrun.warm.child import start_child
from localrun.warm.forking import ForkedChild
from tests.waiting import HANG_S, wait_until
from tests.warm.test_signals import has_ended

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.warm.conftest import Probe

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks so")


@contextlib.contextmanager
def started(probed: Probe, *words: str) -> Iterator[ForkedChild]:
    path = str(probed.folder / "localrun" / "probe.warm")
    child = start_child(words, probed.environ(is_warm=True), warm=path)
    assert isinstance(child, ForkedChild)
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdout, child.stdin:
        yield child


def test_a_child_has_pipes_and_an_exit_code(probed: Probe) -> None:
    with started(probed, "echo") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.01)

        child.stdin.write(b"some words")
        child.stdin.close()

        assert child.stdout.read() == b"some words"
        assert child.wait(HANG_S) == 0
        assert child.poll() == 0


@pytest.mark.parametrize(("words", "code"), [(("end", "3"), 3), (("die", "9"), -9)])
def test_the_end_of_a_child_is_reported(probed: Probe, words: tuple[str, ...], code: int) -> None:
    with started(probed, *words) as child:
        assert child.wait(HANG_S) == code


def test_a_child_can_be_killed(probed: Probe) -> None:
    with started(probed, "hold") as child:
        child.kill()

        assert child.wait(HANG_S) == -signal.SIGKILL
        child.kill()


def test_a_child_survives_the_warm_process_and_reports_its_end(own_probe: Probe) -> None:
    with started(own_probe, "echo") as child:
        os.kill(own_probe.pid, signal.SIGKILL)
        assert child.stdin is not None
        child.stdin.close()

        assert child.wait(HANG_S) == 0


def test_a_job_ends_with_its_stdin_and_not_with_its_connection(probed: Probe) -> None:
    with started(probed, "echo") as child:
        child._connection.close()

        assert not has_ended(child.pid)
        assert child.stdin is not None
        child.stdin.close()
        wait_until(lambda: has_ended(child.pid))


def test_without_a_warm_process_a_child_is_a_new_process(own_probe: Probe) -> None:
    path = str(own_probe.folder / "localrun" / "nobody.warm")
    child = start_child(["--version"], own_probe.environ(is_warm=True), warm=path)

    assert isinstance(child, subprocess.Popen)
    with child:
        assert child.wait(HANG_S) == 0
