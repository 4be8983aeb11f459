"""Download of one file: parallel ranges from any of its sources, never the same byte twice.

The given folder keeps all state between attempts and processes (see `journal`). The caller holds
the folder's lock and moves ``data`` to its final place. Bytes of two sources are combined only if
a digest verifies the whole file.
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

SMALL_BYTES = 1 << 20  # restarting such a file costs less than requesting its parts
_log = logging.getLogger(__name__)


class DigestMismatchError(IntegrityError):
    """The complete file has another digest than promised; its bytes were deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """Complete file, fsynced, and verified if a digest was given."""

    path: Path
    digest: str
    size_bytes: int
    fetched_bytes: int  # by this attempt; the other bytes were on the disk


def download(http: Http, file: RemoteFile, folder: Path, options: DownloadOptions) -> Downloaded:
    """Download the missing bytes of a file; blocks. After a failure the folder keeps all bytes.

    Raises:
        NetworkError: no source sent the file.
        IntegrityError: the bytes of the sources do not match the digest.
        StorageError: the disk is full or cannot be written.
    """
    first_error: LocalrunError | None = None
    for file_sources, find_mirrors in _attempts(file, options.find_mirrors):
        sources = DownloadSources(
            http, file_sources, find_mirrors, first_wait_s=options.first_wait_s
        )
        try:
            return _Transfer(file, folder, options, sources).run()
        except DigestMismatchError as error:
            _log.warning("%s; downloading it again", error.message)
            first_error = first_error or error
        except NetworkError as error:
            if file.digest is not None and first_error is None:
                raise  # all sources were tried together
            first_error = first_error or error
    raise first_error or NetworkError(f"no source is known for {file.name}")


def _attempts(
    file: RemoteFile, find_mirrors: Callable[[], Sequence[FileSource]]
) -> Iterator[tuple[Sequence[FileSource], Callable[[], Sequence[FileSource]]]]:
    """Yield all sources together, then, after a digest mismatch, each source alone."""
    if file.digest is not None:
        yield file.sources, find_mirrors
    for source in file.sources:
        yield (source,), no_more
    if file.digest is not None:
        for mirror in _mirrors(find_mirrors):
            yield (mirror,), no_more


def _mirrors(find_mirrors: Callable[[], Sequence[FileSource]]) -> Sequence[FileSource]:
    try:
        return find_mirrors()
    except LocalrunError as error:
        _log.debug("no mirror: %s", error.message)
        return ()


class _Transfer:
    """One attempt to download a file."""

    def __init__(
        self, file: RemoteFile, folder: Path, options: DownloadOptions, sources: DownloadSources
    ) -> None:
        self._file = file
        self._journal = Journal(folder)
        self._options = options
        self._sources = sources
        self._num_known = 0

    def run(self) -> Downloaded:
        """Return the complete file; restart if a file without digest changes meanwhile.

        Raises:
            DigestMismatchError: the file has another digest than promised.
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
            version = self._version()
            is_known = version.digest is not None or version.etag is not None
            if is_known and version.size_bytes is not None:
                return self._fill(version, version.size_bytes)
            return self._fetch_whole(version.size_bytes)

    def _fetch_whole(self, size_bytes: int | None) -> Downloaded:
        """Download the file in one request."""
        self._journal.clear()
        self._num_known = 0
        check_space(self._journal.folder, size_bytes or 0)
        whole = fetch_whole(self._sources, self._journal.data, size_bytes, self._options)
        return self._result(whole.hexdigest, whole.size_bytes)

    def _version(self) -> FileVersion:
        """Return the version of the file; ask a source if digest and size are not both known."""
        file = self._file
        if file.size_bytes is not None and file.digest is not None:
            return FileVersion(size_bytes=file.size_bytes, digest=file.digest)
        metadata = self._ask()
        size = metadata.size_bytes if file.size_bytes is None else file.size_bytes
        url = file.sources[0].url.partition("?")[0] if file.digest is None else None
        return FileVersion(size_bytes=size, digest=file.digest, etag=metadata.etag, url=url)

    def _ask(self) -> RemoteMetadata:
        """Return a source's metadata of the file."""
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

    def _saved_state(self, version: FileVersion) -> DownloadState:
        """Return the state of earlier attempts, or an empty state if they had another version."""
        loaded = self._journal.load()
        if loaded is not None and loaded[0].is_same_as(version):
            return loaded[1]
        self._journal.clear()
        return DownloadState(Ranges())

    def _fill(self, version: FileVersion, size_bytes: int) -> Downloaded:
        """Download all missing ranges."""
        state = self._saved_state(version)
        self._num_known = state.ranges.total
        check_space(self._journal.folder, size_bytes - state.ranges.total)
        with open_data(self._journal.data, size_bytes) as descriptor:
            progress = DownloadProgress(descriptor, size_bytes, state, self._options.num_streams)
            SegmentWorkers(progress, version, self._sources, self._journal, self._options).run()
            sync_data(descriptor)
        return self._result(progress.hexdigest(), size_bytes)

    def _result(self, hexdigest: str, size: int) -> Downloaded:
        digest, path = f"sha256:{hexdigest}", self._journal.data
        if self._file.digest not in {None, digest}:
            self._journal.clear()
            raise DigestMismatchError(
                f"digest mismatch: {self._file.name} has {digest}, not {self._file.digest}",
                hint="try again later; the publisher may have changed the file",
            )
        return Downloaded(
            path=path, digest=digest, size_bytes=size, fetched_bytes=size - self._num_known
        )
