"""Threads of one download.

    the caller      reports progress, writes the journal
    workers         take a task each, request the best source, write its bytes
    hasher          hashes the beginning as it grows
    syncer          calls fsync from time to time, so that a power loss costs little
    writeback       starts the writeback of new bytes, so that no fsync takes long

No thread touches the file after `run` has ended, however it ends: a thread that is still blocked in
the network is abandoned, finds the progress stopped, and ends.
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
WATCH_S = 0.01  # a fast network brings less than JOURNAL_BYTES in this time
JOURNAL_S, JOURNAL_BYTES = 0.5, 16 << 20  # the most that kill -9 can lose
SYNC_BYTES = 512 << 20
WRITEBACK_S, WRITEBACK_BYTES = 0.02, 8 << 20  # smaller writebacks fragment the file
REST_S = 0.1
JOIN_S = 0.5
LARGEST_TAIL = 4 << 20  # a smaller file is downloaded by one worker
_log = logging.getLogger(__name__)


class SegmentWorkers:
    """Threads of one attempt at one file; runs once."""

    def __init__(
        self, progress: DownloadProgress, version: FileVersion, sources: DownloadSources,
        journal: Journal, options: DownloadOptions,
    ) -> None:  # fmt: skip
        self._progress = progress
        self._version = version
        self._sources = sources
        self._journal = journal
        self._options = options
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()  # guards _opened, and the durable journal against `_end`
        self._opened: set[RangeResponse] = set()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Return when all bytes are on disk and hashed; after a failure the journal is current.

        Raises:
            NetworkError: no source sends the file.
            StorageError: the disk is full or cannot be written.
        """
        targets = [self._progress.hash_all, self._work]
        if self._progress.size_bytes > LARGEST_TAIL:
            targets += [
                self._sync,
                self._write_back,
                *[self._work] * (self._options.num_streams - 1),
            ]
        threads = [
            threading.Thread(target=self._guard, args=(target,), name=target.__name__, daemon=True)
            for target in targets
        ]
        # created before the first byte arrives: the journal holds only what is on disk now
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
        """Report progress and write the journal until the file is complete or a thread fails."""
        while not self._progress.is_complete:
            if self._error is not None:
                raise self._error
            self._ended.wait(WATCH_S)
            done = self._progress.done_bytes
            self._options.report(done, self._progress.size_bytes)
            if due.is_due(done):
                self._journal.save(self._version, self._progress.state())
        self._options.report(self._progress.size_bytes, self._progress.size_bytes)

    def _end(self, threads: list[threading.Thread]) -> None:
        """Stop all threads; save the journal before waiting, which Ctrl-C may interrupt."""
        with self._lock:
            self._stop.set()
        self._progress.stop()
        try:
            self._journal.save(self._version, self._progress.state())
        except OSError as error:  # must not hide the error that ended the download
            _log.warning("cannot write the journal of %s: %s", self._journal.folder, error)
        with self._lock:
            for opened in self._opened:
                opened.interrupt()
        until = time.monotonic() + JOIN_S
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))

    def _guard(self, target: Callable[[], None]) -> None:
        """Run a thread's function; `_watch` raises its error in the caller of `run`."""
        try:
            with storage_errors(self._journal.data, hint=KEPT_HINT):
                target()
        except BaseException as error:  # noqa: BLE001 - raised again by `_watch`
            self._error = self._error or error
            self._ended.set()
        if self._progress.is_complete:
            self._ended.set()

    def _sync(self) -> None:
        """Call fsync at intervals, and save the durable journal after each."""
        descriptor = os.open(self._journal.data, os.O_RDWR)
        try:
            after_s, done = self._options.sync_s, self._progress.done_bytes
            due = PeriodicTrigger(after_s=after_s, num_bytes=SYNC_BYTES, done=done)
            while not self._stop.wait(min(REPORT_S, after_s)):
                if not due.is_due(self._progress.done_bytes):
                    continue
                state = self._progress.state()
                sync_data(descriptor)
                with self._lock:  # after the end the folder may belong to another process
                    if not self._stop.is_set():
                        self._journal.save_durable(self._version, state)
        finally:
            os.close(descriptor)

    def _write_back(self) -> None:
        """Start writeback at intervals: by itself the kernel waits for seconds."""
        if (start := start_writeback()) is None:
            return
        descriptor = os.open(self._journal.data, os.O_RDWR)
        try:
            due = PeriodicTrigger(
                after_s=self._options.sync_s,
                num_bytes=WRITEBACK_BYTES,
                done=self._progress.done_bytes,
            )
            while not self._stop.wait(WRITEBACK_S):
                if due.is_due(self._progress.done_bytes):
                    start(descriptor)
        finally:
            os.close(descriptor)

    def _work(self) -> None:
        """Download tasks until none is left; raise if no source is left."""
        while not self._stop.is_set() and self._step():
            pass

    def _step(self) -> bool:
        """Download one task, or wait a moment; return whether there may be more to do."""
        source = self._sources.pick(needs_ranges=True)
        from_start = source is None  # one worker downloads what cannot be split
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
        """Download a task and record the outcome for its source."""
        began = task.position
        try:
            self._fetch(source, task, from_start=from_start)
        except NetworkError as error:
            if self._stop.is_set():
                return
            if isinstance(error, FileChangedError) and self._version.digest is None:
                raise
            self._sources.failed(source, error, num_bytes=task.position - began)
        else:
            self._sources.succeeded(source)

    def _fetch(self, source: DownloadSource, task: DownloadTask, *, from_start: bool) -> None:
        """Write the bytes that the source sends for a task."""
        limit = self._options.limit
        min_bytes_per_s = 0.0 if limit.bytes_per_s else self._options.slow_bytes_per_s
        speed = SourceSpeed(after_s=self._options.slow_after_s, bytes_per_s=min_bytes_per_s)
        with self._open(source, task, from_start=from_start) as opened:
            offset = task.position - opened.start
            for piece in opened.pieces(limit.piece_bytes):
                limit.take(len(piece), self._stop)
                if self._stop.is_set() or not self._progress.write(task, piece[offset:]):
                    return
                offset = max(0, offset - len(piece))
                if speed.is_slow(len(piece)) and self._sources.is_too_slow(source):
                    return
        if task.position < task.end:
            raise NetworkError(f"{source.reader.source.name} sends fewer bytes than promised")

    @contextlib.contextmanager
    def _open(
        self, source: DownloadSource, task: DownloadTask, *, from_start: bool
    ) -> Iterator[RangeResponse]:
        """Open a source at the task's position; `_end` interrupts reads from it."""
        size, etag = self._version.size_bytes, None
        if self._version.digest is None:
            etag = self._version.etag
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
