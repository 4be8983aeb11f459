"""What of one file is here, what is on its way, and the hash of its beginning.

Intervals are half-open. The owner of each part of the file, at any moment:

    [0, hashed)             on disk and hashed
    [hashed, frontier)      on disk, the hasher reads it back while the kernel still has it
    beyond, in ranges       on disk
    beyond, in tasks        one worker writes it; its end may be moved to share the rest
    the others              nobody's yet

A byte that is on disk is never written again, as it may have been hashed. Everything
here is called from many threads.
"""

from __future__ import annotations

import errno
import os
import threading
import zlib
from dataclasses import dataclass

from localrun.registry.transfer.hashing import Hash, new_hash, resume_hash
from localrun.registry.transfer.journal import DownloadState, HashCheckpoint

MEBI = 1 << 20
SMALLEST_TASK, LARGEST_TASK = MEBI, 32 * MEBI
SHARES = 4  # tasks for each stream, at the least, so that no stream ends long after the others
HASH_BYTES = 4 * MEBI
LEAD_BYTES = 32 * MEBI
CHECK_BYTES = 64 * 1024


@dataclass(slots=True, eq=False)
class DownloadTask:
    """An interval that one worker fetches; ``position`` moves towards ``end``."""

    position: int
    end: int
    claimed: int = 0  # up to where the worker writes just now


class DownloadProgress:
    """The state of a download; the descriptor is used until `stop` returns, not after."""

    def __init__(
        self, descriptor: int, size_bytes: int, mark: DownloadState, num_streams: int
    ) -> None:
        self.size_bytes = size_bytes
        self._descriptor = descriptor
        self._ranges = mark.ranges.copy()
        self._hash = _hash_of(mark)
        self._hashed = self._hash.length
        self._kept = mark.hashed if self._hashed else None
        self._begun_at = self._ranges.end_of(self._hashed)
        self._tasks: list[DownloadTask] = []
        lock = threading.Lock()
        self._freed = threading.Condition(lock)  # a task may be had, or a write has ended
        self._grown = threading.Condition(lock)  # the hasher may have more to do
        self._lock = lock
        self._most = min(LARGEST_TASK, max(SMALLEST_TASK, size_bytes // (num_streams * SHARES)))
        self._num_busy = 0
        self._is_stopped = False

    @property
    def done_bytes(self) -> int:
        """Return how many bytes are on disk."""
        with self._lock:
            return self._ranges.total

    @property
    def hashed_bytes(self) -> int:
        """Return how many bytes, from the first, are hashed."""
        return self._hashed

    @property
    def is_complete(self) -> bool:
        """Return whether all bytes are on disk and hashed."""
        return self._hashed == self.size_bytes

    def state(self) -> DownloadState:
        """Return this moment, for the journal."""
        with self._lock:
            return DownloadState(self._ranges.copy(), self._kept)

    def next_task(self) -> DownloadTask | None:
        """Return what to fetch next; waits while others may give theirs back; None at the end."""
        with self._lock:
            while not self._is_stopped and self._ranges.total < self.size_bytes:
                task = None if self._is_far_ahead() else self._next_gap() or self._share()
                if task is not None:
                    self._tasks.append(task)
                    return task
                self._freed.wait()
            return None

    def next_task_to_end(self) -> DownloadTask | None:
        """Return all from the first missing byte to the end, for a source without ranges."""
        with self._lock:
            gap = self._ranges.gap_from(0, self.size_bytes)
            if self._is_stopped or self._tasks or gap is None:
                return None
            self._tasks.append(task := DownloadTask(gap[0], self.size_bytes))
            return task

    def release(self, task: DownloadTask) -> None:
        """Let others have what is left of a task."""
        with self._lock:
            self._tasks.remove(task)
            self._freed.notify_all()

    def write(self, task: DownloadTask, piece: bytes) -> bool:
        """Put bytes at the task's position, but where some are; return whether it wants more."""
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
        """Let every waiting thread go, and wait until none uses the file any longer."""
        with self._lock:
            self._is_stopped = True
            self._freed.notify_all()
            self._grown.notify_all()
            while self._num_busy:
                self._freed.wait()

    def hash_all(self) -> None:
        """Hash the file from its beginning, as bytes arrive, until it is whole or stopped."""
        buffer = memoryview(bytearray(HASH_BYTES))
        while (end := self._next_to_hash()) is not None:
            count, kept = 0, None
            try:
                view = buffer[: end - self._hashed]
                count = os.preadv(self._descriptor, [view], self._hashed)
                if count == 0:
                    raise OSError(errno.EIO, "the file was cut short by somebody else")
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
        """Return what to write now and its offset in the piece; passes over what is there."""
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
        """Note what was written."""
        with self._lock:
            self._num_busy -= 1
            self._ranges.add(start, end)
            task.position = task.claimed = end
            self._grown.notify()
            if self._is_stopped or self._ranges.total == self.size_bytes:
                self._freed.notify_all()

    def _write_all(self, view: memoryview, position: int) -> None:
        while view:
            written = os.pwrite(self._descriptor, view, position)
            if not written:
                raise OSError(errno.EIO, "the system takes no more bytes and does not say why")
            view, position = view[written:], position + written

    def _next_to_hash(self) -> int | None:
        """Return up to where to hash now; whole blocks but for the file's end."""
        with self._lock:
            while not self._is_stopped and self._hashed < self.size_bytes:
                end = min(self._ranges.end_of(self._hashed), self._hashed + HASH_BYTES)
                if end < self.size_bytes:
                    end -= end % MEBI
                if end > self._hashed:
                    self._num_busy += 1
                    return end
                self._grown.wait()
            return None

    def _keep(self, view: memoryview) -> HashCheckpoint | None:
        """Return what the journal is to keep after these bytes, None if the hash has no state."""
        state = self._hash.state()
        if state is None:
            return None
        last = view[-CHECK_BYTES:]
        return HashCheckpoint(
            length=self._hash.length, state=state, num_checked=len(last), crc32=zlib.crc32(last)
        )

    def _is_far_ahead(self) -> bool:
        """Return whether the hasher is to catch up with what came in this attempt.

        All ends when it does, so no time is lost; and what it has not hashed by a kill, the
        next attempt must. What is there from earlier attempts is no reason to let a network
        wait.
        """
        is_behind = self._ranges.end_of(self._hashed) - self._hashed > LEAD_BYTES
        return is_behind and self._hashed >= self._begun_at

    def _next_gap(self) -> DownloadTask | None:
        position = self._hashed
        while (gap := self._ranges.gap_from(position, self.size_bytes)) is not None:
            start, end = gap
            taken = [task for task in self._tasks if task.position < end and task.end > start]
            first = min(taken, key=lambda task: task.position, default=None)
            if first is None or first.position > start:
                stop = end if first is None else min(end, first.position)
                return DownloadTask(start, min(stop, start + self._most))
            position = first.end
        return None

    def _share(self) -> DownloadTask | None:
        """Take the second half of the longest task, once there is nothing else to do."""
        longest = max(self._tasks, key=_left_of, default=None)
        if longest is None or _left_of(longest) < 2 * SMALLEST_TASK:
            return None
        middle = longest.end - _left_of(longest) // 2
        task = DownloadTask(middle, longest.end)
        longest.end = middle
        return task


def _left_of(task: DownloadTask) -> int:
    """Return how much of a task another worker could do."""
    return task.end - max(task.position, task.claimed)


def _hash_of(mark: DownloadState) -> Hash:
    """Return the hash as the mark has it, or one that begins anew."""
    if mark.hashed is not None:
        try:
            resumed = resume_hash(mark.hashed.state, mark.hashed.length)
        except ValueError:
            resumed = None
        if resumed is not None:
            return resumed
    return new_hash()
