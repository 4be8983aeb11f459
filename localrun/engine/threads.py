"""Thread count: how many threads a model gains from, and how many the machine has room for.

llama.cpp's threads synchronize some hundred times in a forward pass, and spin while they
wait, since sleeping and waking costs more than most of the work between. If another program
takes the processor of one thread, all others spin until it is back: a token takes forty times
as long. So no more threads are used than there are processors available; `ThreadGauge`
estimates that from the time that threads waited for a processor.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

import llama_cpp

from localrun.engine.llama.thread_pool import shared_pool
from localrun.hardware.contention import CpuTimes, CpuUsage, read_num_runnable, read_usage
from localrun.hardware.cpu import usable_threads

if TYPE_CHECKING:
    from collections.abc import Callable

BYTES_PER_THREAD = 16 * 1024 * 1024  # less work is done before a second thread wakes up
WINDOW_S = 0.2
RECENT_S = 1.0  # an older reading tells what other programs did, not what they do
CROWDED = 0.1  # share of its time that a thread waits for a processor; 0.03 if undisturbed
FREE = 0.7  # of a processor must be idle to add a thread
WORKING = 0.7  # share of a window in which threads are ready to run if they work throughout
MAX_PATIENCE = 64  # windows to wait after a failed attempt to add a thread; doubles each time
_log = logging.getLogger(__name__)


def useful_threads(model_bytes: int, configured: int | None = None) -> int:
    """Return how many threads a model of this size gains from, at most `usable_threads`.

    A number set by the user takes precedence, up to one for each logical processor.
    """
    if configured:
        return min(configured, os.cpu_count() or 1)
    return min(usable_threads(), 1 + model_bytes // BYTES_PER_THREAD)


class ThreadGauge:
    """Estimate of the fastest number of threads at present; one for the whole process."""

    def __init__(
        self,
        max_threads: int,
        read: Callable[[], CpuUsage | None] = read_usage,
        num_runnable: Callable[[], int | None] = read_num_runnable,
    ) -> None:
        self._max = self._count = max_threads
        self._read, self._num_runnable = read, num_runnable
        self._before = read() if max_threads > 1 else None
        self._patience = 1
        self._num_quiet = 0  # windows without contention since the last change

    def count(self, now: float) -> int:
        """Return how many threads there is room for; called before each step."""
        if self._before is not None and now - self._before.at_s >= WINDOW_S:
            usage = self._read()
            if usage is not None:
                spent, self._before = usage.since(self._before), usage
                self._set(self._target(spent))
        return self._count

    def _set(self, count: int) -> None:
        if count != self._count:
            _log.info("using %d of %d threads: so many processors are available", count, self._max)
        self._count = count

    def _target(self, spent: CpuTimes) -> int:
        """Return the number of threads that fits the times since the last reading."""
        ready_s = spent.ran_s + spent.waited_s
        if ready_s < WORKING * self._count * spent.wall_s:  # the threads mostly had no work
            room = self._room(spent.idle_s + spent.ran_s, spent.wall_s)
            return self._bounded(room if spent.wall_s <= RECENT_S else max(room, self._room_now()))
        waiting = spent.waited_s / ready_s
        if waiting > CROWDED and self._count > 1:
            has_just_changed = self._num_quiet < self._patience
            self._patience = min(2 * self._patience, MAX_PATIENCE) if has_just_changed else 1
            self._num_quiet = 0
            return self._bounded(min(self._count - 1, int(self._count * (1 - waiting) + CROWDED)))
        self._num_quiet += 1
        room = self._room(spent.idle_s, spent.wall_s)
        if not room or self._num_quiet < self._patience:
            return self._count
        self._num_quiet = 0
        return self._bounded(self._count + room)

    def _room_now(self) -> int:
        """Return how many processors are left by the threads that are ready now, but this one."""
        num_runnable = self._num_runnable()
        return 0 if num_runnable is None else (os.cpu_count() or 1) + 1 - num_runnable

    def _room(self, free_s: float, wall_s: float) -> int:
        """Return how many threads so much processor time is enough for."""
        return int(free_s / wall_s + 1 - FREE)

    def _bounded(self, count: int) -> int:
        return max(1, min(self._max, count))


class ContextThreads:
    """Threads of one llama.cpp context; always ``max_threads`` without a gauge."""

    def __init__(self, handle: object, max_threads: int, gauge: ThreadGauge | None) -> None:
        self._handle = handle
        self._max = self._count = max_threads
        self._gauge = gauge
        self._pool = shared_pool(max_threads)
        if self._pool is not None:
            self._pool.attach(handle)

    def adjust(self) -> None:
        """Set the number of threads to what there is room for; called before each step."""
        if self._gauge is None:
            return
        count = min(self._max, self._gauge.count(time.monotonic()))
        if count != self._count:
            self._count = count
            llama_cpp.llama_set_n_threads(self._handle, count, count)
            self._choose_pool()

    def _choose_pool(self) -> None:
        """Use the pool only with all threads: others would spin beside the fewer that compute."""
        if self._pool is None:
            return
        if self._count == self._max:
            self._pool.attach(self._handle)
        else:
            self._pool.detach(self._handle)
