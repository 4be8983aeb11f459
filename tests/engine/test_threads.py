from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from localrun.engine.threads import RECENT_S, WINDOW_S, ThreadGauge, useful_threads
from localrun.hardware.contention import CpuUsage
from localrun.hardware.cpu import usable_threads

CORES = 4


@dataclass
class Machine:
    """Four processors, shared fairly by a gauge's threads and those of others."""

    num_others: float = 0.0
    num_ours: int = 0
    now: float = 0.0
    ran: float = 0.0
    waited: float = 0.0
    idle: float = 0.0

    def read(self) -> CpuUsage:
        return CpuUsage(self.now, {"1": (self.ran, self.waited)}, self.idle)

    def pass_time(self, seconds: float) -> None:
        ready = self.num_ours + self.num_others
        share = min(1.0, CORES / ready) if ready else 0.0
        self.now += seconds
        self.ran += share * self.num_ours * seconds
        self.waited += (1 - share) * self.num_ours * seconds
        self.idle += max(0.0, CORES - ready) * seconds


def work(machine: Machine, gauge: ThreadGauge, num_windows: int = 30) -> list[int]:
    """Return the number of threads in each of some windows in which they always work."""
    counts = []
    for _ in range(num_windows):
        machine.num_ours = gauge.count(machine.now)
        counts.append(machine.num_ours)
        machine.pass_time(WINDOW_S)
    return counts


def rest(machine: Machine, seconds: float) -> None:
    machine.num_ours = 0
    machine.pass_time(seconds)


def test_a_small_model_gets_one_thread_and_a_large_one_all() -> None:
    assert useful_threads(6_000_000) == 1
    assert useful_threads(10**12) == usable_threads() <= (os.cpu_count() or 1)


def test_a_number_that_is_named_holds_up_to_the_processors() -> None:
    assert useful_threads(1, 1) == useful_threads(10**12, 1) == 1
    assert useful_threads(1, 1000) == os.cpu_count()


def test_alone_all_threads_stay() -> None:
    machine = Machine(num_others=0.2)  # a server, a browser

    assert set(work(machine, ThreadGauge(CORES, machine.read))) == {CORES}


@pytest.mark.parametrize(("num_others", "best"), [(1, 3), (2, 2), (3, 1), (8, 1)])
def test_others_get_their_processors_and_give_them_back(num_others: int, best: int) -> None:
    machine = Machine()
    gauge = ThreadGauge(CORES, machine.read)
    work(machine, gauge)

    machine.num_others = num_others
    counts = work(machine, gauge)
    machine.num_others = 0
    after = work(machine, gauge)

    assert counts[5:] == [best] * len(counts[5:])
    assert after[-1] == CORES


@pytest.mark.parametrize(("num_others_now", "expected"), [(0, CORES), (2, 2)])
def test_the_first_step_after_a_rest_knows_what_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, num_others_now: int, expected: int
) -> None:
    """A program that has ended since takes no thread away."""
    monkeypatch.setattr(os, "cpu_count", lambda: CORES)
    machine = Machine(num_others=2)
    gauge = ThreadGauge(CORES, machine.read, lambda: 1 + num_others_now)
    rest(machine, 2 * RECENT_S)

    assert gauge.count(machine.now) == expected

    machine.num_others = 0
    rest(machine, 2 * RECENT_S)
    assert gauge.count(machine.now) == CORES


def test_after_a_short_rest_the_idle_time_tells_the_room() -> None:
    machine = Machine(num_others=2)
    gauge = ThreadGauge(CORES, machine.read, lambda: 1)
    rest(machine, WINDOW_S)

    assert gauge.count(machine.now) == 2


def test_a_try_that_fails_is_not_made_again_soon() -> None:
    """Where processors look idle that are not for us, as under a quota that nobody told."""
    machine = Machine(num_others=2)
    gauge = ThreadGauge(CORES, machine.read)
    tries = 0
    for _ in range(300):
        machine.idle += WINDOW_S  # not true
        before = gauge.count(machine.now)
        (count,) = work(machine, gauge, 1)
        tries += count > before or count > 2

    assert tries < 40


def test_between_looks_nothing_is_read() -> None:
    machine = Machine()
    gauge = ThreadGauge(CORES, machine.read)
    machine.pass_time(WINDOW_S)
    gauge.count(machine.now)
    machine.waited += 100

    assert gauge.count(machine.now + WINDOW_S / 2) == CORES


def test_where_the_system_tells_nothing_all_threads_stay() -> None:
    assert ThreadGauge(CORES, lambda: None).count(10.0**9) == CORES
