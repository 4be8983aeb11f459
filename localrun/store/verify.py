"""Verification of blobs: hashes them on all cores and reports those that do not match their names.

A blob matched its digest when it got its name; disks decay, and the tool that shares a blob's file
may write to it. Only `quarantine` deletes anything, and hashes the blob again first. Knows digests
and files, not their purpose.

    BadBlob(digest="sha256:<hex>", size_bytes=7, reason="damaged")
"""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from localrun.disk import storage_errors
from localrun.errors import LocalrunError, StorageError
from localrun.store.blobs import file_digest
from localrun.store.link import LinkRecord
from localrun.waiting import results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from localrun.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class BadBlob:
    """Blob that cannot be used."""

    digest: str
    size_bytes: int | None  # on the disk, None if unknown
    reason: Literal["missing", "damaged", "unreadable"]


def verify(
    store: Store,
    digests: Iterable[str],
    *,
    on_bytes: Callable[[int], None] | None = None,
    num_threads: int | None = None,
) -> list[BadBlob]:
    """Hash blobs and return the bad ones in the order of their digests.

    Blocks while it reads all of them, large ones first. ``on_bytes`` receives the number of bytes
    just read, from one thread at a time; an exception that it raises ends the work soon. A shared
    blob that its tool touched without changing it is trusted again.

    Raises:
        StorageError: the record of a shared blob cannot be written.
    """
    wanted = list(dict.fromkeys(digests))
    biggest_first = sorted(wanted, key=lambda digest: -(_size(store, digest) or 0))
    counter = _Counter(on_bytes)
    with ThreadPoolExecutor(num_threads or os.cpu_count() or 1) as pool:
        jobs = {digest: pool.submit(_check, store, digest, counter.add) for digest in biggest_first}
        try:
            checked = results(jobs[digest] for digest in wanted)
        except BaseException:
            counter.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            if counter.failure is not None:
                raise counter.failure from None
            raise
    return [bad for bad in checked if bad is not None]


def compare_sizes(store: Store, sizes: Mapping[str, int]) -> list[BadBlob]:
    """Return the blobs that are missing or differ from the sizes given; reads none."""
    bad = []
    for digest, expected in sizes.items():
        size = _size(store, digest)
        if size != expected:
            reason: Literal["missing", "damaged"] = "missing" if size is None else "damaged"
            bad.append(BadBlob(digest=digest, size_bytes=size, reason=reason))
    return bad


def quarantine(store: Store, digest: str, aside: Path | None = None) -> bool:
    """Delete a blob of our store if its bytes are wrong, so that it is downloaded again.

    Hashes the blob first. Returns False if it is right, missing, or in another store. A file that
    the disk can no longer read counts as wrong; another tool's file stays where it is. With
    ``aside`` the blob is moved there, from where `bring_back` restores it.

    Raises:
        StorageError: the blob cannot be opened or deleted, so its state is unknown.
    """
    path = store.layout.blob(digest)
    with storage_errors(path):
        try:
            before = path.stat()
            is_right = _readable_digest(path) == digest
            is_same = path.stat().st_ino == before.st_ino  # else a pull has just replaced it
        except FileNotFoundError:
            return False
        if is_right or not is_same:
            return False
        if aside is None:
            store.blobs.remove(digest)
        else:
            path.rename(aside)
    return True


def bring_back(store: Store, digest: str, aside: Path) -> None:
    """Restore a damaged blob that could not be replaced: it is better than none."""
    path = store.layout.blob(digest)
    with storage_errors(path):
        if aside.exists() and not path.exists():
            aside.rename(path)


class _Counter:
    """Progress counter that forwards the bytes of many threads, one call at a time."""

    def __init__(self, on_bytes: Callable[[int], None] | None) -> None:
        self._on_bytes = on_bytes
        self._calling = threading.Lock()  # one call of on_bytes at a time; no other lock inside
        self._is_stopped = False
        self.failure: BaseException | None = None

    def add(self, count: int) -> None:
        with self._calling:
            if self._is_stopped:
                raise CancelledError
            try:
                if self._on_bytes is not None:
                    self._on_bytes(count)
            except BaseException as error:
                self.failure, self._is_stopped = error, True
                raise CancelledError from error

    def stop(self) -> None:
        self._is_stopped = True


def _size(store: Store, digest: str) -> int | None:
    try:
        path = store.blobs.find(digest)
        return None if path is None else path.stat().st_size
    except (OSError, StorageError):
        return None


def _check(store: Store, digest: str, on_bytes: Callable[[int], None]) -> BadBlob | None:
    """Return a blob if it is bad; update the record of a good shared one."""
    bad = BadBlob(digest=digest, size_bytes=_size(store, digest), reason="missing")
    try:
        path = store.blobs.find(digest)
        if path is None:
            return bad
        before = LinkRecord.of(path)
        is_right = file_digest(path, on_bytes) == digest
    except FileNotFoundError:  # garbage collected meanwhile
        return bad
    except (OSError, LocalrunError):
        return replace(bad, reason="unreadable")
    if not is_right:
        return replace(bad, reason="damaged")
    if path == store.layout.blob(digest):
        _trust_again(store, digest, before)
    return None


def _trust_again(store: Store, digest: str, verified: LinkRecord) -> None:
    """Record a shared blob's time from before it was read: a later change stays refused."""
    record = store.blobs.link_of(digest)
    if record is None:
        return
    now = replace(record, size_bytes=verified.size_bytes, modified_ns=verified.modified_ns)
    if now != record:
        with store.lease() as lease:
            store.blobs.record_link(digest, now, lease)


def _readable_digest(path: Path) -> str | None:
    """Return a file's digest, or None if the disk lost its bytes."""
    try:
        return file_digest(path)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return None
