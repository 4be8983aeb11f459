"""Download one file: in parallel ranges, from any of its remotes, never twice the same byte.

The folder that is given keeps everything between attempts and processes (see
`journal`). The caller holds the folder's lock, and moves ``data`` to where it belongs.
Bytes of two remotes are mixed only where a digest tells in the end that they fit.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.disk import storage_errors
from localrun.errors import IntegrityError, LocalrunError, NetworkError
from localrun.registry.transfer.disk import KEPT_HINT, check_space, open_data, sync_data
from localrun.registry.transfer.journal import DownloadState, FileVersion, Journal
from localrun.registry.transfer.options import DownloadOptions, no_more
from localrun.registry.transfer.progress import DownloadProgress
from localrun.registry.transfer.range_reader import FileChangedError
from localrun.registry.transfer.ranges import Ranges
from localrun.registry.transfer.single import any_source, fetch_whole
from localrun.registry.transfer.sources import DownloadSources
from localrun.registry.transfer.workers import SegmentWorkers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from localrun.registry.http import Http
    from localrun.registry.remote import FileSource, RemoteFile
    from localrun.registry.transfer.range_reader import RemoteMetadata

SMALL_BYTES = 1 << 20  # to ask for parts of such a file would cost more than to begin anew
_log = logging.getLogger(__name__)


class DigestMismatchError(IntegrityError):
    """All bytes came and their digest is another one; nothing of them is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A whole file, fsynced, and verified as far as a digest was promised."""

    path: Path
    digest: str
    size_bytes: int
    fetched_bytes: int  # by this attempt; the others were on the disk


def download(http: Http, file: RemoteFile, folder: Path, options: DownloadOptions) -> Downloaded:
    """Fetch what is missing of a file; blocks. What came stays in the folder on any failure.

    Raises:
        NetworkError: no source helped.
        IntegrityError: the sources do not hold the promised bytes.
        StorageError: the disk is full or cannot be written.
    """
    first: LocalrunError | None = None
    for remotes, find_mirrors in _attempts(file, options.find_mirrors):
        sources = DownloadSources(http, remotes, find_mirrors, first_wait_s=options.first_wait_s)
        try:
            return _Transfer(file, folder, options, sources).run()
        except DigestMismatchError as error:
            _log.warning("%s; downloading it again", error.message)
            first = first or error
        except NetworkError as error:
            if file.digest is not None and first is None:
                raise  # all remotes took part
            first = first or error
    raise first or NetworkError(f"nobody is known to have {file.name}")


def _attempts(
    file: RemoteFile, find_mirrors: Callable[[], Sequence[FileSource]]
) -> Iterator[tuple[Sequence[FileSource], Callable[[], Sequence[FileSource]]]]:
    """Yield all remotes together and then, should bytes be wrong, each alone."""
    if file.digest is not None:
        yield file.sources, find_mirrors
    for remote in file.sources:
        yield (remote,), no_more
    if file.digest is not None:
        for remote in _found(find_mirrors):
            yield (remote,), no_more


def _found(find_mirrors: Callable[[], Sequence[FileSource]]) -> Sequence[FileSource]:
    try:
        return find_mirrors()
    except LocalrunError as error:
        _log.debug("no mirror: %s", error.message)
        return ()


class _Transfer:
    """One attempt."""

    def __init__(
        self, file: RemoteFile, folder: Path, options: DownloadOptions, sources: DownloadSources
    ) -> None:
        self._file = file
        self._journal = Journal(folder)
        self._options = options
        self._sources = sources
        self._num_known = 0

    def run(self) -> Downloaded:
        """Return the whole file; one that changes while it comes, and has no digest, starts anew.

        Raises:
            DigestMismatchError: it is not what was promised.
        """
        try:
            return self._run()
        except FileChangedError:
            if self._file.digest is not None:
                raise
            return self._run()

    def _run(self) -> Downloaded:
        with storage_errors(self._journal.folder, hint=KEPT_HINT):
            self._journal.folder.mkdir(parents=True, exist_ok=True)
            size = self._file.size_bytes
            if self._file.digest is None and size is not None and size <= SMALL_BYTES:
                return self._fetch_whole(size)
            identity = self._identity()
            is_known = identity.digest is not None or identity.etag is not None
            if is_known and identity.size_bytes is not None:
                return self._fill(identity, identity.size_bytes)
            return self._fetch_whole(identity.size_bytes)

    def _fetch_whole(self, size_bytes: int | None) -> Downloaded:
        """Fetch all in one go."""
        self._journal.clear()
        self._num_known = 0
        check_space(self._journal.folder, size_bytes or 0)
        whole = fetch_whole(self._sources, self._journal.data, size_bytes, self._options)
        return self._result(whole.hexdigest, whole.size_bytes)

    def _identity(self) -> FileVersion:
        """Return which file this is; asks a source when neither digest nor size are known."""
        file = self._file
        if file.size_bytes is not None and file.digest is not None:
            return FileVersion(size_bytes=file.size_bytes, digest=file.digest)
        facts = self._ask()
        size = facts.size_bytes if file.size_bytes is None else file.size_bytes
        url = file.sources[0].url.partition("?")[0] if file.digest is None else None
        return FileVersion(size_bytes=size, digest=file.digest, etag=facts.etag, url=url)

    def _ask(self) -> RemoteMetadata:
        """Return what a source says of the file."""
        while True:
            source = any_source(self._sources)
            try:
                opened = source.reader.open(0, 1, size=self._file.size_bytes, etag=None)
            except NetworkError as error:
                self._sources.failed(source, error, num_bytes=0)
                continue
            opened.close()
            source.has_ranges = opened.metadata.has_ranges
            return opened.metadata

    def _known(self, identity: FileVersion) -> DownloadState:
        """Return what earlier attempts left, nothing if it was of another file."""
        loaded = self._journal.load()
        if loaded is not None and loaded[0].is_same_as(identity):
            return loaded[1]
        self._journal.clear()
        return DownloadState(Ranges())

    def _fill(self, identity: FileVersion, size_bytes: int) -> Downloaded:
        """Fetch all that is missing."""
        mark = self._known(identity)
        self._num_known = mark.ranges.total
        check_space(self._journal.folder, size_bytes - mark.ranges.total)
        with open_data(self._journal.data, size_bytes) as descriptor:
            progress = DownloadProgress(descriptor, size_bytes, mark, self._options.num_streams)
            SegmentWorkers(progress, identity, self._sources, self._journal, self._options).run()
            sync_data(descriptor)
        return self._result(progress.hexdigest(), size_bytes)

    def _result(self, hexdigest: str, size: int) -> Downloaded:
        digest, path = f"sha256:{hexdigest}", self._journal.data
        if self._file.digest not in {None, digest}:
            self._journal.clear()
            raise DigestMismatchError(
                f"{self._file.name} came with wrong bytes: its digest is {digest}",
                hint="try again later; the publisher may have changed the file",
            )
        return Downloaded(
            path=path, digest=digest, size_bytes=size, fetched_bytes=size - self._num_known
        )
