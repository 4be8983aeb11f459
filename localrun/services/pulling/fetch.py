"""Bring files into the store: share the work with other processes, resume, verify, publish."""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from localrun.disk import storage_errors
from localrun.registry.transfer.download import download
from localrun.registry.transfer.journal import Journal
from localrun.services.progress import SharedReport
from localrun.store.layout import discard_folder, hex_of
from localrun.store.locks import can_lock, try_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from localrun.registry.http import Http
    from localrun.registry.remote import RemoteFile
    from localrun.registry.transfer.options import DownloadOptions
    from localrun.services.progress import ProgressReport
    from localrun.services.pulling.plan import PlannedFile
    from localrun.store.locks import Lease
    from localrun.store.store import Store

WAIT_S = 0.2
SMALL_BYTES = 4 << 20  # the round trip takes longer than the bytes


@dataclass(frozen=True, slots=True)
class FetchedBlob:
    """A blob that is in the store now."""

    digest: str
    size_bytes: int
    path: Path
    fetched_bytes: int = 0  # none of a blob that was here


def fetch_all(
    store: Store,
    http: Http,
    planned: Sequence[PlannedFile],
    lease: Lease,
    options: DownloadOptions,
    report: ProgressReport,
) -> list[FetchedBlob]:
    """Return the blobs of files in their order; blocks.

    Large files come one after another, each in parts; small ones side by side.

    Raises:
        NetworkError, IntegrityError, StorageError: as `fetch`; what came is kept.
    """
    shared = SharedReport(report)
    small = _small_files(planned)
    with ThreadPoolExecutor(options.num_streams) as pool:
        try:
            came = pool.map(
                lambda at: fetch(store, http, planned[at], lease, options, shared), small
            )
            fetched = dict(zip(small, came, strict=True))
        except BaseException:
            shared.stop()  # the pool waits for its threads, also on Ctrl-C
            raise
    return [
        fetched.get(at) or fetch(store, http, file, lease, options, report)
        for at, file in enumerate(planned)
    ]


def fetch(
    store: Store,
    http: Http,
    planned: PlannedFile,
    lease: Lease,
    options: DownloadOptions,
    report: ProgressReport,
) -> FetchedBlob:
    """Return the file's blob, downloaded unless it is here; blocks.

    When another process downloads the same file, wait for it and use what it brings.

    Raises:
        NetworkError, IntegrityError, StorageError: as `download`; what came is kept.
    """
    file = planned.file
    if file.digest is not None:
        lease.add([file.digest])
    if (found := _find(store, file)) is not None:
        return found
    folder = _folder(store, file)
    with _held(folder, file.name, report):
        if (found := _find(store, file)) is not None:  # another process was faster
            with storage_errors(folder):
                discard_folder(folder, lease.temporary())
            return found
        told = replace(
            options,
            find_mirrors=planned.find_mirrors,
            report=lambda done, total: report.advance(file.name, done, total),
        )
        downloaded = download(http, file, folder, told)
        lease.add([downloaded.digest])
        came = replace(file, digest=downloaded.digest, size_bytes=downloaded.size_bytes)
        fetched = downloaded.fetched_bytes if _find(store, came) is None else 0
        path = store.blobs.publish(downloaded.path, downloaded.digest, downloaded.size_bytes)
        with storage_errors(folder):
            discard_folder(folder, lease.temporary())
    return FetchedBlob(downloaded.digest, downloaded.size_bytes, path, fetched)


def missing_bytes(store: Store, files: Iterable[RemoteFile]) -> int:
    """Return how much is still to come of files, as far as their sizes are known."""
    wanted = {file.digest or file.name: file for file in files if _find(store, file) is None}
    return sum(_left(store, file) for file in wanted.values())


def _left(store: Store, file: RemoteFile) -> int:
    loaded = Journal(_folder(store, file)).load()
    has = loaded[1].ranges.total if loaded is not None else 0
    return max(0, (file.size_bytes or 0) - has)


def _find(store: Store, file: RemoteFile) -> FetchedBlob | None:
    """Return a file's blob if it is here; one that was cut short counts as missing."""
    path = store.blobs.find(file.digest, file.size_bytes) if file.digest is not None else None
    if path is None:
        return None
    with storage_errors(path):
        return FetchedBlob(str(file.digest), path.stat().st_size, path)


def _folder(store: Store, file: RemoteFile) -> Path:
    """Return the partial folder: by the digest, else by the address."""
    if file.digest is not None:
        return store.layout.partial / hex_of(file.digest)
    url = file.sources[0].url.partition("?")[0]
    return store.layout.partial / f"url-{hashlib.sha256(url.encode()).hexdigest()[:32]}"


def _small_files(planned: Sequence[PlannedFile]) -> list[int]:
    """Return where small files are whose digest is known, each digest once.

    One without a digest may come in one go, which nothing ends before the server does.
    """
    first: dict[str, int] = {}
    for at, one in enumerate(planned):
        size, digest = one.file.size_bytes, one.file.digest
        if digest is not None and size is not None and size <= SMALL_BYTES:
            first.setdefault(digest, at)
    return list(first.values())


@contextmanager
def _held(folder: Path, name: str, report: ProgressReport) -> Iterator[None]:
    """Hold a partial folder; wait while another process does, and tell how far it is."""
    has_told = False
    while True:
        lock = _open_lock(folder)
        with lock:
            if not can_lock(lock.fileno()):  # then the hash finds what two writers spoilt
                yield
                return
            if try_lock(lock.fileno()) and _is_current(lock.fileno(), folder):
                yield
                return
        if not has_told:
            report.note(f"another localrun downloads {name}; waiting for it")
            has_told = True
        loaded = Journal(folder).load()
        if loaded is not None:
            report.advance(name, loaded[1].ranges.total, loaded[0].size_bytes)
        time.sleep(WAIT_S)


def _open_lock(folder: Path) -> IO[str]:
    """Open a partial folder's lock; makes both, again if a sweep takes the folder in between."""
    with storage_errors(folder):
        while True:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                return (folder / "lock").open("a")
            except (FileNotFoundError, FileExistsError):  # mkdir says exists of one just gone, too
                if folder.is_file():
                    raise


def _is_current(descriptor: int, folder: Path) -> bool:
    """Return whether the locked file is still the folder's: its last holder removes both."""
    try:
        return os.fstat(descriptor).st_ino == (folder / "lock").stat().st_ino
    except FileNotFoundError:
        return False
