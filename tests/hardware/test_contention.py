from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from localrun.hardware.contention import CpuTimes, read_num_runnable, read_usage

assert sys.platform != "win32"

if TYPE_CHECKING:
    from pathlib import Path

FIRST = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
TICKS = os.sysconf("SC_CLK_TCK")


def write(root: Path, tasks: dict[str, tuple[int, int]], idle: int) -> None:
    for name, (ran, waited) in tasks.items():
        (root / "task" / name).mkdir(parents=True, exist_ok=True)
        (root / "task" / name / "schedstat").write_text(f"{ran} {waited} 7\n")
    line = f"{{}} 5 5 5 {idle} 0 0 0 0 0 0\n"
    stat = line.format("cpu") + line.format(f"cpu{FIRST}") + line.format("cpu9999") + "intr 1 2\n"
    (root / "stat").write_text(stat)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells it")
def test_what_happened_is_counted_by_thread(tmp_path: Path) -> None:
    write(tmp_path, {"1": (10**9, 0), "2": (5 * 10**9, 10**9)}, 100)
    before = read_usage(tmp_path / "task", tmp_path / "stat")
    (tmp_path / "task" / "2" / "schedstat").unlink()  # ended
    write(tmp_path, {"1": (3 * 10**9, 10**9), "3": (10**9, 0)}, 100 + 2 * TICKS)
    after = read_usage(tmp_path / "task", tmp_path / "stat")

    assert before is not None
    assert after is not None
    spent = after.since(before)
    assert (spent.ran_s, spent.waited_s, spent.idle_s) == (3.0, 1.0, 2.0)


def test_where_the_system_tells_nothing_there_is_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"1": (1, 1)}, 1)

    assert read_usage(tmp_path / "none", tmp_path / "stat") is None
    assert read_usage(tmp_path / "task", tmp_path / "none") is None


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells it")
def test_a_thread_that_works_is_seen_working() -> None:
    before = read_usage()
    until = time.thread_time() + 0.05  # noqa: TID251 - what is to be seen
    thread = threading.Thread(target=lambda: None)
    while time.thread_time() < until:  # noqa: TID251 - the same
        pass
    thread.start()
    thread.join()
    after = read_usage()

    assert before is not None
    assert after is not None
    spent = after.since(before)
    assert isinstance(spent, CpuTimes)
    assert spent.ran_s >= 0.04
    assert spent.wall_s >= 0.05


def test_the_threads_that_are_ready_now_are_counted(tmp_path: Path) -> None:
    load = tmp_path / "loadavg"
    load.write_text("0.20 0.18 0.12 3/80 11206\n")

    assert read_num_runnable(load) == 3
    load.write_text("?")
    assert read_num_runnable(load) is None
    assert read_num_runnable(tmp_path / "missing") is None
