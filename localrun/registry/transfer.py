"""Download one file: in parallel ranges, from any of its remotes, never twice the same byte.

The folder that is given keeps everything between attempts and processes (see
`journal`). The caller holds the folder's lock, and moves ``data`` to where it belongs.

    main thread     reports, writes the journal
    workers         take an interval each, ask the best source, write what comes
    hasher          hashes the beginning as it grows
    syncer          fsyncs now and then, so that a power loss costs little
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, LocalrunError, NetworkError, StorageError
from localrun.registry.fetch import FileChangedError, skip
from localrun.registry.journal import Identity, Journal, Mark
from localrun.registry.limit import RateLimit
from localrun.registry.pace import Durable, Pace
from localrun.registry.progress import Progress, hash_file
from localrun.registry.ranges import Ranges
from localrun.registry.sources import FIRST_WAIT_S, Source, Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from localrun.registry.fetch import Facts
    from localrun.registry.http import Http
    from localrun.registry.progress import Task
    from localrun.registry.remote import Remote, RemoteFile

DEFAULT_STREAMS = 4
REPORT_S = 0.1
JOURNAL_S = 0.5
SPARE_BYTES = 32 << 20  # a disk is not filled to the last byte
JOIN_S = 5.0
LARGEST_TAIL = 4 << 20
_log = logging.getLogger(__name__)


def _no_more() -> Sequence[Remote]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to download."""

    num_streams: int = DEFAULT_STREAMS
    limit: RateLimit = field(default_factory=lambda: RateLimit(None))
    first_wait_s: float = FIRST_WAIT_S  # after a failure; doubled after each further one
    find_mirrors: Callable[[], Sequence[Remote]] = _no_more  # called when a source gives trouble
    report: Callable[[int, int | None], None] = lambda done, total: None  # noqa: ARG005


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A whole file, verified as far as a digest was promised."""

    path: Path
    digest: str
    size_bytes: int


def download(http: Http, file: RemoteFile, folder: Path, options: Options) -> Downloaded:
    """Fetch what is missing of a file; blocks. What came stays in the folder on any failure.

    Raises:
        NetworkError: no source helped.
        IntegrityError: the sources do not hold the promised bytes.
        StorageError: the disk is full or cannot be written.
    """
    wrong = None
    for remotes in _attempts(file.remotes):
        more = options.find_mirrors if wrong is None else _no_more
        sources = Sources(http, remotes, more, first_wait_s=options.first_wait_s)
        try:
            return _Transfer(file, folder, options, sources).run()
        except WrongBytesError as error:
            wrong = error
            _log.warning("%s; downloading it again", error.message)
        except NetworkError:
            if wrong is None:
                raise
    raise wrong or NetworkError(f"nobody is known to have {file.name}")


class WrongBytesError(IntegrityError):
    """All bytes came and their digest is another one; nothing of them is kept."""


def _attempts(remotes: Sequence[Remote]) -> Iterator[Sequence[Remote]]:
    """Yield all remotes together and then, should bytes be wrong, each alone."""
    yield remotes
    for remote in remotes:
        yield [remote]


class _Transfer:
    """One attempt."""

    def __init__(self, file: RemoteFile, folder: Path, options: Options, sources: Sources) -> None:
        self._file = file
        self._journal = Journal(folder)
        self._options = options
        self._sources = sources
        self._stop = threading.Event()
        self._error: LocalrunError | None = None

    def run(self) -> Downloaded:
        """Return the whole file."""
        with _storage_errors(self._journal.folder):
            self._journal.folder.mkdir(parents=True, exist_ok=True)
            identity = self._identity()
            if identity.size_bytes is None:
                return self._unsized()
            mark = self._known(identity)
            _check_space(self._journal.folder, identity.size_bytes - mark.ranges.total)
            descriptor = os.open(self._journal.data, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                digest = self._fill(identity, mark, descriptor)
            finally:
                os.close(descriptor)
        return self._result(digest, identity.size_bytes)

    def _identity(self) -> Identity:
        """Return which file this is; asks a source when neither digest nor size are known."""
        file = self._file
        if file.size_bytes is not None and file.digest is not None:
            return Identity(size_bytes=file.size_bytes, digest=file.digest)
        facts = self._ask()
        url = file.remotes[0].url.partition("?")[0]
        return Identity(size_bytes=facts.size_bytes, digest=file.digest, etag=facts.etag, url=url)

    def _ask(self) -> Facts:
        """Return what a source says of the file."""
        while True:
            source = self._any_source()
            try:
                opened = source.door.open(0, None, size=self._file.size_bytes, etag=None)
            except NetworkError as error:
                self._sources.failed(source, error, has_progress=False)
                continue
            opened.close()
            source.has_ranges = opened.facts.has_ranges
            return opened.facts

    def _known(self, identity: Identity) -> Mark:
        """Return what earlier attempts left, nothing if it was of another file."""
        loaded = self._journal.load()
        if loaded is not None and loaded[0].is_same_as(identity):
            return loaded[1]
        self._journal.clear()
        return Mark(Ranges())

    def _fill(self, identity: Identity, mark: Mark, descriptor: int) -> str:
        """Fetch all that is missing; return the digest of everything."""
        assert_size = identity.size_bytes or 0
        progress = Progress(descriptor, assert_size, mark, self._options.num_streams)
        durable = Durable(progress, descriptor, Mark(Ranges()))
        workers = [
            threading.Thread(target=self._work, args=(progress, identity, n), daemon=True)
            for n in range(self._options.num_streams if assert_size > LARGEST_TAIL else 1)
        ]
        hasher = threading.Thread(target=self._hash, args=(progress,), daemon=True)
        syncer = threading.Thread(target=durable.keep, args=(self._stop,), daemon=True)
        threads = [*workers, hasher, syncer]
        for thread in threads:
            thread.start()
        try:
            self._watch(progress, durable, identity)
        finally:
            self._stop.set()
            progress.stop()
            for thread in threads:
                thread.join(JOIN_S)
            self._journal.save(identity, progress.mark(), durable.mark, is_synced=False)
        return progress.hexdigest()

    def _watch(self, progress: Progress, durable: Durable, identity: Identity) -> None:
        """Report and write the journal until the file is whole or nobody can help."""
        saved, synced = time.monotonic(), durable.mark
        while not progress.is_complete:
            if self._error is not None:
                raise self._error
            progress.wait(REPORT_S)
            self._options.report(progress.done_bytes, progress.size_bytes)
            if time.monotonic() - saved >= JOURNAL_S:
                mark, is_synced = durable.mark, durable.mark is not synced
                self._journal.save(identity, progress.mark(), mark, is_synced=is_synced)
                saved, synced = time.monotonic(), mark
        self._options.report(progress.size_bytes, progress.size_bytes)

    def _hash(self, progress: Progress) -> None:
        try:
            progress.hash_all()
        except OSError as error:
            self._error = StorageError(f"cannot read {self._journal.data}: {error.strerror}")

    def _work(self, progress: Progress, identity: Identity, number: int) -> None:
        """Take intervals until none is left; the first failure that nobody mends ends all."""
        try:
            while not self._stop.is_set() and self._step(progress, identity, number):
                pass
        except LocalrunError as error:
            self._error = self._error or error
        except OSError as error:
            self._error = self._error or _storage_error(error, self._journal.data)
        except Exception as error:
            self._error = NetworkError(f"the download failed: {error!r}")
            raise

    def _step(self, progress: Progress, identity: Identity, number: int) -> bool:
        """Fetch one interval, or fail at it; tell whether there may be more to do."""
        source = self._sources.pick(needs_ranges=True)
        is_rest = source is None
        if source is None:
            if number > 0:  # one stream does what cannot be shared
                return False
            source = self._sources.pick(needs_ranges=False)
        task = progress.take_rest() if is_rest else progress.take()
        if task is None or source is None:
            return is_rest and not progress.is_complete and not self._stop.wait(REPORT_S)
        self._stop.wait(max(0.0, source.not_before - time.monotonic()))
        began = task.position
        try:
            self._fetch(progress, identity, source, task)
        except NetworkError as error:
            self._sources.failed(source, error, has_progress=task.position > began)
            if isinstance(error, FileChangedError) and identity.digest is None:
                raise
        else:
            self._sources.succeeded(source)
        finally:
            progress.give_back(task)
        return True

    def _fetch(self, progress: Progress, identity: Identity, source: Source, task: Task) -> None:
        """Write what the source sends for a task."""
        if self._stop.is_set():
            return
        start, pace = task.position, Pace(self._options.limit)
        first = start if source.has_ranges else 0
        etag = identity.etag if identity.digest is None else None
        opened = source.door.open(
            first, task.end if source.has_ranges else None, size=identity.size_bytes, etag=etag
        )
        try:
            for piece in skip(opened, start - opened.start):
                self._options.limit.take(len(piece), self._stop)
                if not progress.write(task, piece) or self._stop.is_set():
                    return
                if pace.is_slow(len(piece)) and self._sources.is_too_slow(source):
                    return
        finally:
            opened.close()
        if task.position < task.end:
            raise NetworkError(f"{source.door.remote.name} sends less than it promised")

    def _unsized(self) -> Downloaded:
        """Fetch a file whose size nobody tells, in one go."""
        self._journal.clear()
        source = self._any_source()
        opened = source.door.open(0, None, size=None, etag=None)
        try:
            with self._journal.data.open("wb") as data:
                for piece in opened.pieces():
                    data.write(piece)
                    self._options.limit.take(len(piece), self._stop)
                    self._options.report(data.tell(), None)
        finally:
            opened.close()
        digest, size = hash_file(self._journal.data)
        return self._result(digest, size)

    def _any_source(self) -> Source:
        """Return the source to ask, once it wants to be asked."""
        source = self._sources.pick(needs_ranges=False)
        if source is None:
            raise NetworkError(f"nobody is known to have {self._file.name}")
        self._stop.wait(max(0.0, source.not_before - time.monotonic()))
        return source

    def _result(self, hexdigest: str, size_bytes: int) -> Downloaded:
        digest = f"sha256:{hexdigest}"
        if self._file.digest not in {None, digest}:
            self._journal.clear()
            raise WrongBytesError(
                f"{self._file.name} came with wrong bytes: its digest is {digest}",
                hint="try again later; the publisher may have changed the file",
            )
        return Downloaded(path=self._journal.data, digest=digest, size_bytes=size_bytes)


def _check_space(folder: Path, missing: int) -> None:
    free = shutil.disk_usage(folder).free
    if missing + SPARE_BYTES > free:
        raise StorageError(
            f"{missing / 1e9:.2f} GB are missing and the disk of {folder} has {free / 1e9:.2f} GB",
            hint="localrun prune   frees what no model uses",
        )


@contextlib.contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _storage_error(error, folder) from error


def _storage_error(error: OSError, path: Path) -> StorageError:
    return StorageError(
        f"cannot write {path}: {error.strerror or error}",
        hint="localrun prune   frees what no model uses; what came so far is kept",
    )
