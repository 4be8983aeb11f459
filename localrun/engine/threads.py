"""How many threads are worth using: for a model, and while others use the machine too.

llama.cpp's threads meet some hundred times in a forward pass, and spin while they wait for
each other, since to sleep and wake costs more than most of the work between. Where one of
them has no processor because another program has it, all others spin until it is back: a
token takes forty times as long. So no more threads are used than there are processors for
them; `ThreadGauge` learns that from how long threads waited for one.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

import llama_cpp

from localrun.hardware.contention import CpuTimes, CpuUsage, read_usage
from localrun.hardware.cpu import usable_threads

if TYPE_CHECKING:
    from collections.abc import Callable

BYTES_PER_THREAD = 16 * 1024 * 1024  # less work than this is done before a second thread has woken
WINDOW_S = 0.2
CROWDED = 0.1  # share of its time that a thread may wait for a processor; alone it is 0.03
FREE = 0.7  # of a processor has to be idle for a thread more
WORKING = 0.7  # share of a window that the threads are ready in when they do nothing else
MOST_PATIENCE = 64  # windows after a try that failed; it doubles each time
_log = logging.getLogger(__name__)


def useful_threads(model_bytes: int, named: int | None = None) -> int:
    """Return how many threads a model of this size gains from, at most `usable_threads`.

    Who names a number gets it, up to one for each logical processor.
    """
    if named:
        return min(named, os.cpu_count() or 1)
    return min(usable_threads(), 1 + model_bytes // BYTES_PER_THREAD)


class ThreadGauge:
    """Tells how many of ``most`` threads are quickest just now; one serves a whole process."""

    def __init__(self, most: int, read: Callable[[], CpuUsage | None] = read_usage) -> None:
        self._most = self._count = most
        self._read = read
        self._before = read() if most > 1 else None
        self._patience = 1
        self._quiet = 0  # windows without a crowd since the last change

    def count(self, now: float) -> int:
        """Return how many threads there is room for; to be asked before each step."""
        if self._before is not None and now - self._before.at_s >= WINDOW_S:
            usage = self._read()
            if usage is not None:
                spent, self._before = usage.since(self._before), usage
                self._note(self._wanted(spent))
        return self._count

    def _note(self, count: int) -> None:
        if count != self._count:
            _log.info("%d of %d threads now: for so many there are processors", count, self._most)
        self._count = count

    def _wanted(self, spent: CpuTimes) -> int:
        """Return the number of threads that fits what happened since the last look."""
        ready_s = spent.ran_s + spent.waited_s
        if ready_s < WORKING * self._count * spent.wall_s:  # others had the machine to themselves
            return self._bounded(self._room(spent.idle_s + spent.ran_s, spent.wall_s))
        crowd = spent.waited_s / ready_s
        if crowd > CROWDED and self._count > 1:
            has_just_changed = self._quiet < self._patience
            self._patience = min(2 * self._patience, MOST_PATIENCE) if has_just_changed else 1
            self._quiet = 0
            return self._bounded(min(self._count - 1, int(self._count * (1 - crowd) + CROWDED)))
        self._quiet += 1
        room = self._room(spent.idle_s, spent.wall_s)
        if not room or self._quiet < self._patience:
            return self._count
        self._quiet = 0
        return self._bounded(self._count + room)

    def _room(self, free_s: float, wall_s: float) -> int:
        """Return for how many threads so much time on processors is enough."""
        return int(free_s / wall_s + 1 - FREE)

    def _bounded(self, count: int) -> int:
        return max(1, min(self._most, count))


class ContextThreads:
    """The threads of one of llama.cpp's contexts, ``most`` of them; without a gauge always."""

    def __init__(self, handle: object, most: int, gauge: ThreadGauge | None) -> None:
        self._handle = handle
        self._most = self._count = most
        self._gauge = gauge

    def adjust(self) -> None:
        """Use no more than there is room for; called before each step."""
        if self._gauge is None:
            return
        count = min(self._most, self._gauge.count(time.monotonic()))
        if count != self._count:
            self._count = count
            llama_cpp.llama_set_n_threads(self._handle, count, count)
