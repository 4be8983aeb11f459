"""The threads that fill one file.

    the caller      reports, writes the journal
    workers         take an interval each, ask the best source, write what comes
    hasher          hashes the beginning as it grows
    syncer          fsyncs now and then, so that a power loss costs little
    beginner        lets the disk begin with what came, so that no fsync takes long

However it ends, no thread touches the file after `run`: one that the network still
holds is left behind, finds the progress stopped, and ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from localrun.disk import storage_errors
from localrun.errors import NetworkError
from localrun.registry.transfer.disk import KEPT_HINT, start_writeback, sync_data
from localrun.registry.transfer.options import PeriodicTrigger, SourceSpeed
from localrun.registry.transfer.range_reader import FileChangedError, NoRangesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.registry.transfer.journal import FileVersion, Journal
    from localrun.registry.transfer.options import DownloadOptions
    from localrun.registry.transfer.progress import DownloadProgress, DownloadTask
    from localrun.registry.transfer.range_reader import RangeResponse
    from localrun.registry.transfer.sources import DownloadSource, DownloadSources

REPORT_S = 0.05
WATCH_S = 0.01  # more often than a fast network brings what the journal is written for
JOURNAL_S, JOURNAL_BYTES = 0.5, 16 << 20  # what a kill -9 costs, at the most
SYNC_BYTES = 512 << 20
BEGIN_S, BEGIN_BYTES = 0.02, 8 << 20  # less at a time would scatter the file over the disk
REST_S = 0.1
JOIN_S = 0.5
LARGEST_TAIL = 4 << 20  # a smaller file comes in one stream
_log = logging.getLogger(__name__)


class SegmentWorkers:
    """One attempt at one file; runs once."""

    def __init__(
        self, progress: DownloadProgress, identity: FileVersion, sources: DownloadSources,
        journal: Journal, options: DownloadOptions,
    ) -> None:  # fmt: skip
        self._progress = progress
        self._identity = identity
        self._sources = sources
        self._journal = journal
        self._options = options
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._opened: set[RangeResponse] = set()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Return when all bytes are there and hashed; the journal tells what is, if not.

        Raises:
            NetworkError: no source helps.
            StorageError: the disk does not.
        """
        works = [self._progress.hash_all, self._work]
        if self._progress.size_bytes > LARGEST_TAIL:
            works += [self._sync, self._begin, *[self._work] * (self._options.num_streams - 1)]
        threads = [
            threading.Thread(target=self._guard, args=(work,), name=work.__name__, daemon=True)
            for work in works
        ]
        # before the first byte comes: the journal knows no more than what is here now
        due = PeriodicTrigger(
            after_s=JOURNAL_S, num_bytes=JOURNAL_BYTES, done=self._progress.done_bytes
        )
        try:
            for thread in threads:
                thread.start()
            self._watch(due)
        finally:
            self._end(threads)

    def _watch(self, due: PeriodicTrigger) -> None:
        """Report and write the journal until the file is whole or nobody can help."""
        while not self._progress.is_complete:
            if self._error is not None:
                raise self._error
            self._ended.wait(WATCH_S)
            done = self._progress.done_bytes
            self._options.report(done, self._progress.size_bytes)
            if due.is_due(done):
                self._journal.save(self._identity, self._progress.state())
        self._options.report(self._progress.size_bytes, self._progress.size_bytes)

    def _end(self, threads: list[threading.Thread]) -> None:
        """Stop everything; the journal comes before the waiting, which may be interrupted."""
        with self._lock:
            self._stop.set()
        self._progress.stop()
        try:
            self._journal.save(self._identity, self._progress.state())
        except OSError as error:  # must not hide why this ends
            _log.warning("the journal of %s is not written: %s", self._journal.folder, error)
        with self._lock:
            for opened in self._opened:
                opened.interrupt()
        until = time.monotonic() + JOIN_S
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))

    def _guard(self, work: Callable[[], None]) -> None:
        """Do the work of a thread; its error is raised where `run` was called."""
        try:
            with storage_errors(self._journal.data, hint=KEPT_HINT):
                work()
        except BaseException as error:  # noqa: BLE001 - raised again by `_watch`
            self._error = self._error or error
            self._ended.set()
        if self._progress.is_complete:
            self._ended.set()

    def _sync(self) -> None:
        """Write out what came, again and again."""
        descriptor = os.open(self._journal.data, os.O_RDWR)
        try:
            after_s, done = self._options.sync_s, self._progress.done_bytes
            due = PeriodicTrigger(after_s=after_s, num_bytes=SYNC_BYTES, done=done)
            while not self._stop.wait(min(REPORT_S, after_s)):
                if not due.is_due(self._progress.done_bytes):
                    continue
                mark = self._progress.state()
                sync_data(descriptor)
                with self._lock:  # not after the end, when the folder may be another's
                    if not self._stop.is_set():
                        self._journal.save_durable(self._identity, mark)
        finally:
            os.close(descriptor)

    def _begin(self) -> None:
        """Keep the disk busy with what came: by itself the kernel begins after seconds."""
        if (begin := start_writeback()) is None:
            return
        descriptor = os.open(self._journal.data, os.O_RDWR)
        try:
            due = PeriodicTrigger(
                after_s=self._options.sync_s, num_bytes=BEGIN_BYTES, done=self._progress.done_bytes
            )
            while not self._stop.wait(BEGIN_S):
                if due.is_due(self._progress.done_bytes):
                    begin(descriptor)
        finally:
            os.close(descriptor)

    def _work(self) -> None:
        """Take intervals until none is left; raise when no source helps any longer."""
        while not self._stop.is_set() and self._step():
            pass

    def _step(self) -> bool:
        """Fetch one interval, or fail at it, or rest; return whether there may be more to do."""
        source = self._sources.pick(needs_ranges=True)
        from_start = source is None  # one stream does what cannot be shared
        source = source or self._sources.pick(needs_ranges=False)
        task = None
        if source is not None and source.wait_s == 0:
            task = self._progress.next_task_to_end() if from_start else self._progress.next_task()
            if task is None and not from_start:
                return False
        if source is None or task is None:
            self._stop.wait(REST_S)
            return self._progress.done_bytes < self._progress.size_bytes
        try:
            self._attempt(source, task, from_start=from_start)
        finally:
            self._progress.release(task)
        return True

    def _attempt(self, source: DownloadSource, task: DownloadTask, *, from_start: bool) -> None:
        """Fetch a task and note how the source did."""
        began = task.position
        try:
            self._fetch(source, task, from_start=from_start)
        except NetworkError as error:
            if self._stop.is_set():
                return
            if isinstance(error, FileChangedError) and self._identity.digest is None:
                raise
            self._sources.failed(source, error, num_bytes=task.position - began)
        else:
            self._sources.succeeded(source)

    def _fetch(self, source: DownloadSource, task: DownloadTask, *, from_start: bool) -> None:
        """Write what the source sends for a task."""
        limit = self._options.limit
        least = 0.0 if limit.bytes_per_s else self._options.slow_bytes_per_s
        pace = SourceSpeed(after_s=self._options.slow_after_s, bytes_per_s=least)
        with self._open(source, task, from_start=from_start) as opened:
            offset = task.position - opened.start
            for piece in opened.pieces(limit.piece_bytes):
                limit.take(len(piece), self._stop)
                if self._stop.is_set() or not self._progress.write(task, piece[offset:]):
                    return
                offset = max(0, offset - len(piece))
                if pace.is_slow(len(piece)) and self._sources.is_too_slow(source):
                    return
        if task.position < task.end:
            raise NetworkError(f"{source.reader.source.name} sends less than it promised")

    @contextlib.contextmanager
    def _open(
        self, source: DownloadSource, task: DownloadTask, *, from_start: bool
    ) -> Iterator[RangeResponse]:
        """Open a source where the task is; the end of all interrupts what is read from it."""
        size, etag = self._identity.size_bytes, None
        if self._identity.digest is None:
            etag = self._identity.etag
        end = None if from_start else task.end
        try:
            opened = source.reader.open(task.position, end, size=size, etag=etag)
        except NoRangesError:
            if not from_start:
                raise
            opened = source.reader.open(0, None, size=size, etag=etag)
        source.has_ranges |= opened.metadata.has_ranges
        with self._lock:
            self._opened.add(opened)
        try:
            yield opened
        finally:
            with self._lock:
                self._opened.remove(opened)
            opened.close()
