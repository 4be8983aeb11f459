"""A source is too slow by its bytes in a stretch; a thing is due by time or by bytes."""

from __future__ import annotations

import time

import pytest

from localrun.registry.transfer.options import PeriodicTrigger, SourceSpeed


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_a_source_is_judged_once_in_a_stretch(clock: Clock) -> None:
    pace = SourceSpeed(after_s=10, bytes_per_s=100)

    judged = []
    for count in (0, 999, 0, 1000, 0, 0):
        clock.now += 5
        judged.append(pace.is_slow(count))

    assert judged == [False, True, False, False, False, True]


def test_nothing_is_too_slow_where_there_is_no_least(clock: Clock) -> None:
    pace = SourceSpeed(after_s=10, bytes_per_s=0)
    clock.now += 11

    assert not pace.is_slow(0)


def test_what_comes_first_is_when_it_is_due(clock: Clock) -> None:
    due = PeriodicTrigger(after_s=10, num_bytes=100, done=50)

    assert not due.is_due(149)
    assert due.is_due(150)
    assert not due.is_due(249)
    clock.now += 10
    assert due.is_due(249)
    assert not due.is_due(250)
