"""Processes: their groups, their end, and who waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest

from localrun.system.processes import (
    interrupt_main_thread,
    is_program,
    is_running,
    kill_group,
    shutdown_signals,
    signal_name,
    spawn,
    watch_process,
)  # fmt: skip
from tests.waiting import HANG_S, wait_until

WAITING = ["win32"] if sys.platform == "win32" else sorted({sys.platform, "darwin"})
SLEEP = "import time; time.sleep(600)"
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).wait()"


def started(code: str) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    return spawn([sys.executable, "-c", code], stdin=null, stdout=null, stderr=null)


def test_a_child_and_its_children_are_killed_together() -> None:
    with started(PARENT) as child:
        wait_until(lambda: psutil.Process(child.pid).children())
        (grandchild,) = psutil.Process(child.pid).children()

        kill_group(child)

    wait_until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


def test_a_signal_without_a_name_has_its_number() -> None:
    assert signal_name(signal.SIGTERM) == "SIGTERM"
    assert signal_name(40) == "signal 40"


@pytest.mark.parametrize("system", WAITING)
def test_the_end_of_any_process_is_waited_for(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with started(SLEEP) as child:
        monkeypatch.setattr(sys, "platform", system)
        watch = watch_process(child.pid)
        assert watch is not None
        watch.wait(0)
        assert child.poll() is None

        child.kill()
        watch.wait(HANG_S)
        watch.close()

    assert not is_running(child.pid)


def test_this_process_runs_and_is_not_this_program() -> None:
    assert is_running(os.getpid())
    with started(SLEEP) as child:
        assert not is_program(child.pid)
        child.kill()
    assert not is_program(child.pid)


def test_the_main_thread_is_interrupted_from_another() -> None:
    with pytest.raises(KeyboardInterrupt):
        wait_for_interrupt()


def wait_for_interrupt() -> None:
    threading.Thread(target=interrupt_main_thread).start()
    for _ in range(10):  # Windows ends no wait of the main thread
        threading.Event().wait(HANG_S / 10)


def test_a_server_ends_by_the_signals_of_its_system() -> None:
    assert {signal.SIGINT, signal.SIGTERM} < set(shutdown_signals())
