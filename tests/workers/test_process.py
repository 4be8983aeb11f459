"""Commands that are no workers, or bad ones: each is one error with the worker's name."""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # elsewhere, a command gets no socket as its stdin

import shlex
import threading
from typing import TYPE_CHECKING

import psutil
import pytest

from localrun.errors import NetworkError
from localrun.workers.command import WorkerCommand
from localrun.workers.process import WorkerProcess
from tests.waiting import HANG_S, wait_until
from tests.workers.hellos import hello

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = hello().line().decode()
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="no signal has this number")
SHORT_S = 0.2  # what never comes is not awaited for longer


def started(script: str) -> WorkerProcess:
    return WorkerProcess(WorkerCommand("ssh gpu1", ("/bin/sh", "-c", script), is_complete=True))


@pytest.fixture
def worker() -> Iterator[WorkerProcess]:
    process = started(f"read go; echo {shlex.quote(LINE.strip())}; exec cat")
    yield process
    process.end(0.0)


def refused(script: str, limit_s: float = HANG_S) -> str:
    process = started(script)
    try:
        with pytest.raises(NetworkError) as caught:
            process.read_hello(limit_s)
    finally:
        process.end(0.0)
    assert "the worker `ssh gpu1` cannot be used: " in caught.value.message
    assert caught.value.hint is not None
    return caught.value.message.partition("used: ")[2]


def test_a_hello_comes_again_whenever_it_is_asked_for(worker: WorkerProcess) -> None:
    worker.start()

    assert worker.read_hello(HANG_S) == hello()
    assert worker.is_alive


def test_a_command_that_fails_is_reported_by_its_last_words() -> None:
    reason = refused("echo 'Warning: new host' >&2; echo 'ssh: no such host' >&2; exit 255")

    assert reason == "it ended with exit code 255: ssh: no such host"


def test_an_error_of_localrun_over_there_comes_before_its_hint() -> None:
    reason = refused("echo 'error: no RPC backend' >&2; echo 'hint: compile' >&2; exit 6")

    assert reason == "it ended with exit code 6: error: no RPC backend"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("true", "it ended before its hello"),
        (f"printf %s {shlex.quote(LINE[:40])}", "it ended before its hello"),
        ("kill -KILL $$", "it was killed by SIGKILL"),
        pytest.param("kill -40 $$", "it was killed by signal 40", marks=only_linux),
        ("echo Welcome to gpu1", "it did not begin with a hello, but with: Welcome to gpu1"),
        ("exec cat /dev/zero", "it did not begin with a hello, but with:"),
        ("head -c 10000000 /dev/zero | tr '\\0' x", "it did not begin with a hello, but with: x"),
    ],
)
def test_what_is_no_worker_is_away(script: str, reason: str) -> None:
    assert reason in refused(script)


def test_a_command_that_says_nothing_is_away_after_the_limit() -> None:
    assert refused("exec sleep 1000", SHORT_S) == "it sent no hello within 0.2 s"


def test_half_a_hello_is_awaited_no_longer() -> None:
    script = f"printf %s {shlex.quote(LINE[:40])}; exec sleep 1000"

    assert refused(script, SHORT_S) == "it sent no hello within 0.2 s"


def test_another_version_is_refused_before_llama_cpp_connects() -> None:
    line = hello(protocol=(8, 1)).line().decode().strip()

    assert "8.1 of llama.cpp's RPC protocol" in refused(f"echo {shlex.quote(line)}; exec cat")


def test_a_program_that_does_not_exist_is_away() -> None:
    with pytest.raises(NetworkError, match="it cannot be started: No such file"):
        WorkerProcess(WorkerCommand("x", ("/nowhere/ssh", "gpu1"), is_complete=True))


def test_the_end_of_a_command_takes_its_children_along() -> None:
    process = started("sleep 1000 & echo $!; wait")
    child = psutil.Process(int(process.socket.recv(20)))

    process.end(0.0)

    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert not process.is_alive


def test_a_command_that_ignores_its_end_is_killed() -> None:
    process = started("trap '' TERM HUP; echo up; while :; do sleep 1000; done")
    process.socket.recv(3)

    process.end(0.0)

    assert not process.is_alive


def test_whoever_waits_for_a_hello_sees_that_the_command_is_killed() -> None:
    process = started("echo up >&2; exec sleep 1000")
    killing = threading.Timer(0.0, process.kill)
    killing.start()

    with pytest.raises(NetworkError, match="it was killed by SIGKILL"):
        process.read_hello(HANG_S)

    killing.join()
    process.kill()  # does nothing now
    process.end(0.0)


def test_a_lot_of_stderr_holds_nobody_up() -> None:
    script = f"head -c 3000000 /dev/zero >&2; echo {shlex.quote(LINE.strip())}; exec cat"
    process = started(script)

    assert process.read_hello(HANG_S) == hello()

    process.end(0.0)
