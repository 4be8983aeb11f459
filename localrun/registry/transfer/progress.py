"""Progress of one download: ranges on disk, ranges in flight, and the hash of the beginning.

Intervals are half-open. Each part of the file has one owner at any time:

    [0, hashed)             on disk and hashed
    [hashed, frontier)      on disk; the hasher reads it back from the page cache
    beyond, in ranges       on disk
    beyond, in tasks        written by one worker; its end may move when the task is shared
    all others              unassigned

A byte on disk is never written again, because it may have been hashed. All methods may be called
from many threads.
"""

from __future__ import annotations

import errno
import threading
import zlib
from dataclasses import dataclass

from localrun.registry.transfer.hashing import Hash, new_hash, resume_hash
from localrun.registry.transfer.journal import DownloadState, HashCheckpoint
from localrun.system.files import read_at, write_at
from localrun.waiting import STEP_S

MEBI = 1 << 20
SMALLEST_TASK, LARGEST_TASK = MEBI, 32 * MEBI
SHARES = 4  # minimum number of tasks for each stream, so that all streams end about together
HASH_BYTES = 4 * MEBI
LEAD_BYTES = 32 * MEBI
CHECK_BYTES = 64 * 1024


@dataclass(slots=True, eq=False)
class DownloadTask:
    """Range that one worker downloads; ``position`` moves towards ``end``."""

    position: int
    end: int
    claimed: int = 0  # end of the current write


class DownloadProgress:
    """State of a download; it uses the descriptor until `stop` returns."""

    def __init__(
        self, descriptor: int, size_bytes: int, state: DownloadState, num_streams: int
    ) -> None:
        self.size_bytes = size_bytes
        self._descriptor = descriptor
        self._ranges = state.ranges.copy()
        self._hash = _hash_of(state)
        self._hashed = self._hash.length
        self._kept = state.hashed if self._hashed else None
        self._initial_end = self._ranges.end_of(self._hashed)
        self._tasks: list[DownloadTask] = []
        # guards all fields; the conditions share it, and no other lock is taken inside
        lock = threading.Lock()
        self._freed = threading.Condition(lock)  # a task became available, or a write ended
        self._grown = threading.Condition(lock)  # the hasher may have more bytes
        self._lock = lock
        self._task_bytes = min(
            LARGEST_TASK, max(SMALLEST_TASK, size_bytes // (num_streams * SHARES))
        )
        self._num_busy = 0
        self._is_stopped = False

    @property
    def done_bytes(self) -> int:
        """Return the number of bytes on disk."""
        with self._lock:
            return self._ranges.total

    @property
    def hashed_bytes(self) -> int:
        """Return the number of hashed bytes from the beginning."""
        return self._hashed

    @property
    def is_complete(self) -> bool:
        """Return whether all bytes are on disk and hashed."""
        return self._hashed == self.size_bytes

    def state(self) -> DownloadState:
        """Return the current state for the journal."""
        with self._lock:
            return DownloadState(self._ranges.copy(), self._kept)

    def next_task(self) -> DownloadTask | None:
        """Return the next task, or None at the end; waits while others may release theirs."""
        with self._lock:
            while not self._is_stopped and self._ranges.total < self.size_bytes:
                task = None if self._is_far_ahead() else self._next_gap() or self._share()
                if task is not None:
                    self._tasks.append(task)
                    return task
                self._freed.wait(STEP_S)
            return None

    def next_task_to_end(self) -> DownloadTask | None:
        """Return a task from the first missing byte to the end, for a source without ranges."""
        with self._lock:
            gap = self._ranges.gap_from(0, self.size_bytes)
            if self._is_stopped or self._tasks or gap is None:
                return None
            self._tasks.append(task := DownloadTask(gap[0], self.size_bytes))
            return task

    def release(self, task: DownloadTask) -> None:
        """Make the rest of a task available to other workers."""
        with self._lock:
            self._tasks.remove(task)
            self._freed.notify_all()

    def write(self, task: DownloadTask, piece: bytes) -> bool:
        """Write bytes at the task's position, but none twice; return whether it needs more."""
        view = memoryview(piece)
        while view and (claim := self._claim(task, len(view))) is not None:
            start, end, offset = claim
            try:
                self._write_all(view[offset : offset + end - start], start)
            except BaseException:
                self._settle(task, start, start)
                raise
            self._settle(task, start, end)
            view = view[offset + end - start :]
        return task.position < task.end and not self._is_stopped

    def stop(self) -> None:
        """Wake all waiting threads, then wait until no thread uses the file."""
        with self._lock:
            self._is_stopped = True
            self._freed.notify_all()
            self._grown.notify_all()
            while self._num_busy:
                self._freed.wait(STEP_S)

    def hash_all(self) -> None:
        """Hash the file from its beginning as bytes arrive, until complete or stopped."""
        buffer = memoryview(bytearray(HASH_BYTES))
        while (end := self._next_to_hash()) is not None:
            count, kept = 0, None
            try:
                view = buffer[: end - self._hashed]
                count = read_at(self._descriptor, view, self._hashed)
                if count == 0:
                    raise OSError(errno.EIO, "another program truncated the file")
                self._hash.update(view[:count])
                kept = self._keep(view[:count])
            finally:
                with self._lock:
                    self._num_busy -= 1
                    self._hashed += count
                    self._kept = kept or self._kept
                    self._freed.notify_all()

    def hexdigest(self) -> str:
        """Return the digest of the whole file."""
        return self._hash.hexdigest()

    def _claim(self, task: DownloadTask, count: int) -> tuple[int, int, int] | None:
        """Return the next range to write and its offset in the piece; skip ranges on disk."""
        with self._lock:
            start = task.position
            stop = min(start + count, task.end)
            gap = None if self._is_stopped else self._ranges.gap_from(start, stop)
            if gap is None:
                task.position = start if self._is_stopped else max(start, stop)
                return None
            task.position, task.claimed = gap
            self._num_busy += 1
            return *gap, gap[0] - start

    def _settle(self, task: DownloadTask, start: int, end: int) -> None:
        """Record a finished write."""
        with self._lock:
            self._num_busy -= 1
            self._ranges.add(start, end)
            task.position = task.claimed = end
            self._grown.notify()
            if self._is_stopped or self._ranges.total == self.size_bytes:
                self._freed.notify_all()

    def _write_all(self, view: memoryview, position: int) -> None:
        while view:
            written = write_at(self._descriptor, view, position)
            if not written:
                raise OSError(errno.EIO, "the system wrote no bytes and reported no error")
            view, position = view[written:], position + written

    def _next_to_hash(self) -> int | None:
        """Return the end of the next range to hash: whole blocks, except at the end of the file."""
        with self._lock:
            while not self._is_stopped and self._hashed < self.size_bytes:
                end = min(self._ranges.end_of(self._hashed), self._hashed + HASH_BYTES)
                if end < self.size_bytes:
                    end -= end % MEBI
                if end > self._hashed:
                    self._num_busy += 1
                    return end
                self._grown.wait(STEP_S)
            return None

    def _keep(self, view: memoryview) -> HashCheckpoint | None:
        """Return the checkpoint after these bytes, or None if the hash has no state."""
        state = self._hash.state()
        if state is None:
            return None
        last = view[-CHECK_BYTES:]
        return HashCheckpoint(
            length=self._hash.length, state=state, num_checked=len(last), crc32=zlib.crc32(last)
        )

    def _is_far_ahead(self) -> bool:
        """Return whether workers must wait for the hasher to catch up with this attempt's bytes.

        The download ends when the hasher ends, so waiting costs no time; bytes that are not hashed
        when the process is killed must be hashed by the next attempt. Bytes of earlier attempts
        never make the network wait.
        """
        is_behind = self._ranges.end_of(self._hashed) - self._hashed > LEAD_BYTES
        return is_behind and self._hashed >= self._initial_end

    def _next_gap(self) -> DownloadTask | None:
        position = self._hashed
        while (gap := self._ranges.gap_from(position, self.size_bytes)) is not None:
            start, end = gap
            overlapping = [task for task in self._tasks if task.position < end and task.end > start]
            first = min(overlapping, key=lambda task: task.position, default=None)
            if first is None or first.position > start:
                stop = end if first is None else min(end, first.position)
                return DownloadTask(start, min(stop, start + self._task_bytes))
            position = first.end
        return None

    def _share(self) -> DownloadTask | None:
        """Split the longest task in two and return the second half, if nothing else is left."""
        longest = max(self._tasks, key=_left_of, default=None)
        if longest is None or _left_of(longest) < 2 * SMALLEST_TASK:
            return None
        middle = longest.end - _left_of(longest) // 2
        task = DownloadTask(middle, longest.end)
        longest.end = middle
        return task


def _left_of(task: DownloadTask) -> int:
    """Return the number of bytes of a task that another worker could take."""
    return task.end - max(task.position, task.claimed)


def _hash_of(state: DownloadState) -> Hash:
    """Return the hash restored from a state, or a new one."""
    if state.hashed is not None:
        try:
            resumed = resume_hash(state.hashed.state, state.hashed.length)
        except ValueError:
            resumed = None
        if resumed is not None:
            return resumed
    return new_hash()
