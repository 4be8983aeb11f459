"""Uploads of a server's clients: files stored as blobs until a model names them.

No name needs such a blob yet, so a lease keeps it: until a model is created from it, or for
`KEPT_S`, or until the server ends. All kept blobs share one lease, which is one open file; a new
lease replaces it when blobs are released.
"""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from localrun.disk import storage_errors, write_all
from localrun.errors import OverloadedError, UsageError
from localrun.registry.transfer.disk import check_space
from localrun.store.layout import hex_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from localrun.store.locks import Lease
    from localrun.store.store import Store

# folders of a create job, as its recipe names them: the server writes them, the job makes them
FILES_FOLDER = "./files"
ADAPTER_FOLDER = "./adapter"
DRAFT_FOLDER = "./draft"
KEPT_S = 3600.0
MAX_KEPT = 4096  # blobs; the oldest are released first
MAX_UPLOADS = 64  # concurrent; each has two open files


class Uploads:
    """Uploads of one server. Safe to use from many threads."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()  # guards the fields below; taken before the store's lock
        self._kept: dict[str, float] = {}  # time of each digest, the oldest first
        self._lease: Lease | None = None  # of all kept digests
        self._leases = ExitStack()  # the same lease, to end it
        self._num_open = 0

    def has(self, digest: str) -> bool:
        """Return whether a blob is stored."""
        return self._store.blobs.find(digest) is not None

    def size(self, digest: str) -> int | None:
        """Return the size of a blob in bytes, or None if it is not stored."""
        path = self._store.blobs.find(digest)
        return None if path is None else path.stat().st_size

    def begin(self, digest: str, size_bytes: int | None) -> Upload:
        """Begin the upload of a digest; ``size_bytes`` is None if it is not known.

        Raises:
            OverloadedError: too many uploads are open.
            StorageError: the disk has no room.
        """
        self._release_old()
        with self._lock:
            if self._num_open >= MAX_UPLOADS:
                raise OverloadedError(f"{MAX_UPLOADS} uploads are open already")
            self._num_open += 1
        try:
            upload = Upload(self._store, digest, self._keep, self._end)
        except BaseException:
            self._end()
            raise
        try:
            check_space(self._store.layout.tmp, size_bytes or 0)
        except BaseException:
            upload.close()
            raise
        return upload

    def release(self, digests: Iterable[str]) -> None:
        """Release blobs that a model names now."""
        with self._lock:
            released = [self._kept.pop(digest, None) for digest in digests]
            if any(since is not None for since in released):
                self._renew()  # a lease cannot drop single digests

    def close(self) -> None:
        """Release all blobs."""
        self.release(list(self._kept))

    def _keep(self, digest: str) -> None:
        with self._lock:
            self._kept[digest] = self._clock()
            if len(self._kept) > MAX_KEPT:
                for oldest in list(self._kept)[: MAX_KEPT // 4]:
                    del self._kept[oldest]
                self._renew()
            elif self._lease is None:
                self._renew()
            else:
                self._lease.add([digest])

    def _renew(self) -> None:
        """Lease the kept blobs, then end the previous lease; the caller holds the lock."""
        with ExitStack() as begun:
            lease = begun.enter_context(self._store.lease(self._kept)) if self._kept else None
            self._leases.close()
            self._lease, self._leases = lease, begun.pop_all()

    def _end(self) -> None:
        with self._lock:
            self._num_open -= 1

    def _release_old(self) -> None:
        oldest = self._clock() - KEPT_S
        with self._lock:
            old = [digest for digest, since in self._kept.items() if since < oldest]
        self.release(old)


class Upload:
    """Upload of one file; its methods block."""

    def __init__(
        self, store: Store, digest: str, keep: Callable[[str], None], end: Callable[[], None]
    ) -> None:
        self._store = store
        self._digest = digest
        self._keep = keep
        self._hash, self._size_bytes = hashlib.sha256(), 0
        with ExitStack() as stack:
            self._path = stack.enter_context(store.lease([digest])).temporary()
            with storage_errors(self._path):
                self._file = stack.enter_context(self._path.open("wb", buffering=0))
            stack.callback(end)
            self._stack = stack.pop_all()

    def write(self, content: bytes) -> None:
        """Write some bytes.

        Raises:
            StorageError: the disk is full.
        """
        self._hash.update(content)
        self._size_bytes += len(content)
        with storage_errors(self._path):
            write_all(self._file, content)

    def finish(self) -> None:
        """Publish the blob.

        Raises:
            UsageError: the bytes do not match the digest; nothing is stored.
        """
        if self._hash.hexdigest() != hex_of(self._digest):
            raise UsageError(
                f"digest mismatch: the bytes have sha256:{self._hash.hexdigest()}, "
                f"not {self._digest}"
            )
        with storage_errors(self._path):
            self._file.close()
        self._store.blobs.publish(self._path, self._digest, self._size_bytes)
        self._keep(self._digest)

    def close(self) -> None:
        """Discard the upload unless it was finished."""
        self._stack.close()
