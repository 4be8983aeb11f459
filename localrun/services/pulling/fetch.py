"""Fetching of files into the store: shared with other processes, resumed, verified, published."""

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
from localrun.waiting import results

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
SMALL_BYTES = 4 << 20  # below it, latency outweighs transfer time


@dataclass(frozen=True, slots=True)
class FetchedBlob:
    """Blob that is in the store now."""

    digest: str
    size_bytes: int
    path: Path
    fetched_bytes: int = 0  # 0 for a blob that was in the store


def fetch_all(
    store: Store,
    http: Http,
    planned: Sequence[PlannedFile],
    lease: Lease,
    options: DownloadOptions,
    report: ProgressReport,
) -> list[FetchedBlob]:
    """Return the blobs of files in their order; blocks.

    Large files are downloaded one after another, each in ranges; small ones concurrently.

    Raises:
        NetworkError, IntegrityError, StorageError: as `fetch`; downloaded bytes are kept.
    """
    shared = SharedReport(report)
    small = _small_files(planned)
    with ThreadPoolExecutor(options.num_streams) as pool:
        try:
            blobs = [
                pool.submit(fetch, store, http, planned[at], lease, options, shared) for at in small
            ]
            fetched = dict(zip(small, results(blobs), strict=True))
        except BaseException:
            shared.stop()  # the pool waits for its threads, also on Ctrl-C
            pool.shutdown(wait=False, cancel_futures=True)
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
    """Return the file's blob, downloaded unless it is in the store; blocks.

    If another process downloads the same file, wait for it and use its blob.

    Raises:
        NetworkError, IntegrityError, StorageError: as `download`; downloaded bytes are kept.
    """
    file = planned.file
    if file.digest is not None:
        lease.add([file.digest])
    if (blob := _find(store, file)) is not None:
        return blob
    folder = _folder(store, file)
    with _held(folder, file.name, report):
        if (blob := _find(store, file)) is not None:  # another process was faster
            with storage_errors(folder):
                discard_folder(folder, lease.temporary())
            return blob
        file_options = replace(
            options,
            find_mirrors=planned.find_mirrors,
            report=lambda done, total: report.advance(file.name, done, total),
        )
        downloaded = download(http, file, folder, file_options)
        lease.add([downloaded.digest])
        verified = replace(file, digest=downloaded.digest, size_bytes=downloaded.size_bytes)
        fetched = downloaded.fetched_bytes if _find(store, verified) is None else 0
        path = store.blobs.publish(downloaded.path, downloaded.digest, downloaded.size_bytes)
        with storage_errors(folder):
            discard_folder(folder, lease.temporary())
    return FetchedBlob(downloaded.digest, downloaded.size_bytes, path, fetched)


def missing_bytes(store: Store, files: Iterable[RemoteFile]) -> int:
    """Return the number of bytes still to download, as far as sizes are known."""
    wanted = {file.digest or file.name: file for file in files if _find(store, file) is None}
    return sum(_remaining_bytes(store, file) for file in wanted.values())


def _remaining_bytes(store: Store, file: RemoteFile) -> int:
    loaded = Journal(_folder(store, file)).load()
    num_present = loaded[1].ranges.total if loaded is not None else 0
    return max(0, (file.size_bytes or 0) - num_present)


def _find(store: Store, file: RemoteFile) -> FetchedBlob | None:
    """Return a file's blob if it is in the store; a truncated blob counts as missing."""
    path = store.blobs.find(file.digest, file.size_bytes) if file.digest is not None else None
    if path is None:
        return None
    with storage_errors(path):
        return FetchedBlob(str(file.digest), path.stat().st_size, path)


def _folder(store: Store, file: RemoteFile) -> Path:
    """Return the partial folder of a file: by its digest, else by its URL."""
    if file.digest is not None:
        return store.layout.partial / hex_of(file.digest)
    url = file.sources[0].url.partition("?")[0]
    return store.layout.partial / f"url-{hashlib.sha256(url.encode()).hexdigest()[:32]}"


def _small_files(planned: Sequence[PlannedFile]) -> list[int]:
    """Return the positions of small files with known digests, each digest once.

    A file without digest may be downloaded in one request, which only the server can end.
    """
    first: dict[str, int] = {}
    for at, planned_file in enumerate(planned):
        size, digest = planned_file.file.size_bytes, planned_file.file.digest
        if digest is not None and size is not None and size <= SMALL_BYTES:
            first.setdefault(digest, at)
    return list(first.values())


@contextmanager
def _held(folder: Path, name: str, report: ProgressReport) -> Iterator[None]:
    """Hold a partial folder; while another process holds it, wait and report its progress."""
    has_noted = False
    while True:
        lock = _open_lock(folder)
        with lock:
            if not can_lock(lock.fileno()):  # the digest reveals what two writers spoilt
                yield
                return
            if try_lock(lock.fileno()) and _is_current(lock.fileno(), folder):
                yield
                return
        if not has_noted:
            report.note(f"another localrun is downloading {name}; waiting for it")
            has_noted = True
        loaded = Journal(folder).load()
        if loaded is not None:
            report.advance(name, loaded[1].ranges.total, loaded[0].size_bytes)
        time.sleep(WAIT_S)


def _open_lock(folder: Path) -> IO[str]:
    """Open a partial folder's lock file; create both again if the folder is collected meanwhile."""
    with storage_errors(folder):
        while True:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                return (folder / "lock").open("a")
            except (
                FileNotFoundError,
                FileExistsError,
            ):  # mkdir also reports a folder that is just gone
                if folder.is_file():
                    raise


def _is_current(descriptor: int, folder: Path) -> bool:
    """Return whether the locked file is still the folder's: its last holder deletes both."""
    try:
        return os.fstat(descriptor).st_ino == (folder / "lock").stat().st_ino
    except FileNotFoundError:
        return False
