"""An idle server and its runner sleep: they are compared with a process that ticks meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from benchmarks.wakeups import wakeups

from tests.e2e.conftest import server_of
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.conftest import Home

NUM_TICKS = 12
TICKING = f"import time\nfor _ in range({NUM_TICKS}): time.sleep(0.5)"


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads Linux's counters")
def test_a_server_with_an_idle_model_wakes_up_far_less_often_than_twice_a_second(
    server: Home,
) -> None:
    process = server_of(server)
    pids = [process.pid, *(child.pid for child in process.children(recursive=True))]
    assert len(pids) >= 2  # a runner, too

    def is_quieter_than_a_ticking_process() -> bool:
        before = num_wakeups(pids)
        subprocess.run([sys.executable, "-I", "-S", "-c", TICKING], check=True)
        return num_wakeups(pids) - before < NUM_TICKS / 2

    wait_until(is_quieter_than_a_ticking_process, "an idle server")


def num_wakeups(pids: list[int]) -> int:
    return sum(num for pid in pids for num in wakeups(pid).values())
