"""What of one file is here, what is on its way, and the hash of its beginning.

Intervals are half-open. The owner of each part of the file, at any moment:

    [0, hashed)             on disk and hashed
    [hashed, frontier)      on disk, the hasher reads it back while the kernel still has it
    beyond, in ranges       on disk
    beyond, in tasks        one worker writes it; its end may be moved to share the rest
    the others              nobody's yet

Everything here is called from many threads.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.registry.hashing import Hash, new_hash, resume_hash
from localrun.registry.journal import Mark
from localrun.registry.ranges import Ranges

if TYPE_CHECKING:
    from pathlib import Path

MEBI = 1 << 20
SMALLEST_TASK, LARGEST_TASK = MEBI, 32 * MEBI
SHARES = 4  # tasks for each stream, at the least, so that no stream ends long after the others
HASH_BYTES = 4 * MEBI


@dataclass(slots=True, eq=False)
class Task:
    """An interval that one worker fetches; ``position`` moves towards ``end``."""

    position: int
    end: int


class Progress:
    """The state of a download."""

    def __init__(self, descriptor: int, size_bytes: int, mark: Mark, num_streams: int) -> None:
        self.size_bytes = size_bytes
        self._descriptor = descriptor
        self._ranges = mark.ranges
        self._hash = _hash_of(mark)
        self._state = self._hash.state()
        self._hashed = self._hash.length
        self._tasks: list[Task] = []
        self._changed = threading.Condition()
        self._most = min(LARGEST_TASK, max(SMALLEST_TASK, size_bytes // (num_streams * SHARES)))
        self._is_stopped = False

    @property
    def done_bytes(self) -> int:
        """Return how many bytes are on disk."""
        with self._changed:
            return self._ranges.total

    @property
    def is_complete(self) -> bool:
        """Tell whether all bytes are on disk and hashed."""
        return self._hashed == self.size_bytes

    def mark(self) -> Mark:
        """Return this moment, for the journal."""
        with self._changed:
            return Mark(self._ranges.copy(), self._hashed, self._state)

    def take(self) -> Task | None:
        """Return what to fetch next; waits while others may give theirs back; None at the end."""
        with self._changed:
            while not self._is_stopped and self._ranges.total < self.size_bytes:
                task = self._next_gap() or self._share()
                if task is not None:
                    self._tasks.append(task)
                    return task
                self._changed.wait()
            return None

    def take_rest(self) -> Task | None:
        """Return all from the first missing byte to the end, for a source without ranges."""
        with self._changed:
            if self._is_stopped or self._tasks:
                return None
            gap = self._ranges.gap_from(0, self.size_bytes)
            if gap is None:
                return None
            self._tasks.append(task := Task(gap[0], self.size_bytes))
            return task

    def give_back(self, task: Task) -> None:
        """Let others have what is left of a task."""
        with self._changed:
            self._tasks.remove(task)
            self._changed.notify_all()

    def write(self, task: Task, piece: bytes) -> bool:
        """Put bytes at the task's position; tell whether it wants more."""
        view = memoryview(piece)[: task.end - task.position]
        written = 0
        while written < len(view):
            written += os.pwrite(self._descriptor, view[written:], task.position + written)
        with self._changed:
            self._ranges.add(task.position, task.position + len(view))
            task.position += len(view)
            self._changed.notify_all()
            return task.position < task.end

    def stop(self) -> None:
        """Let every waiting thread go."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Wait for a change."""
        with self._changed:
            if not self._is_stopped:
                self._changed.wait(timeout_s)

    def hash_all(self) -> None:
        """Hash the file from its beginning, as bytes arrive, until it is whole or stopped."""
        buffer = memoryview(bytearray(HASH_BYTES))
        while (end := self._next_to_hash()) is not None:
            count = os.preadv(self._descriptor, [buffer[: end - self._hashed]], self._hashed)
            self._hash.update(buffer[:count])
            with self._changed:
                self._hashed += count
                state = self._hash.state()
                if state is not None:
                    self._state = state
                self._changed.notify_all()

    def hexdigest(self) -> str:
        """Return the digest of the whole file."""
        return self._hash.hexdigest()

    def _next_to_hash(self) -> int | None:
        """Return up to where to hash now; whole blocks but for the file's end."""
        with self._changed:
            while not self._is_stopped and self._hashed < self.size_bytes:
                end = min(self._ranges.end_of(self._hashed), self._hashed + HASH_BYTES)
                if end < self.size_bytes:
                    end -= end % MEBI
                if end > self._hashed:
                    return end
                self._changed.wait()
            return None

    def _next_gap(self) -> Task | None:
        position = self._hashed
        while (gap := self._ranges.gap_from(position, self.size_bytes)) is not None:
            start, end = gap
            taken = [task for task in self._tasks if task.position < end and task.end > start]
            first = min(taken, key=lambda task: task.position, default=None)
            if first is None or first.position > start:
                stop = end if first is None else min(end, first.position)
                return Task(start, min(stop, start + self._most))
            position = first.end
        return None

    def _share(self) -> Task | None:
        """Take the second half of the longest task, once there is nothing else to do."""
        longest = max(self._tasks, key=lambda task: task.end - task.position, default=None)
        if longest is None or longest.end - longest.position < 2 * SMALLEST_TASK:
            return None
        middle = (longest.position + longest.end) // 2
        task = Task(middle, longest.end)
        longest.end = middle
        return task


def hash_file(path: Path) -> tuple[str, int]:
    """Return the hex digest and the size of a file."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        progress = Progress(file.fileno(), size, Mark(Ranges([(0, size)])), 1)
        progress.hash_all()
    return progress.hexdigest(), size


def _hash_of(mark: Mark) -> Hash:
    """Return the hash as the mark has it, or one that begins anew."""
    if mark.state is not None and mark.ranges.end_of(0) >= mark.hashed:
        try:
            resumed = resume_hash(mark.state, mark.hashed)
        except ValueError:
            resumed = None
        if resumed is not None:
            return resumed
    return new_hash()
