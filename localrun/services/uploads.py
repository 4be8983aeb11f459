"""Files that clients of a server send, to make models of: as blobs, kept until one names them.

No name needs such a blob yet, so a lease holds it: until a model has been created of it,
or for `KEPT_S`, or as long as the server lives.
"""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from localrun.disk import write_all
from localrun.errors import UsageError
from localrun.registry.disk import check_space
from localrun.store.layout import hex_of, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from localrun.store.store import Store

KEPT_S = 3600.0


class Uploads:
    """The uploads of one server; safe from any thread."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, ExitStack]] = {}  # by digest: when, and its lease

    def has(self, digest: str) -> bool:
        """Tell whether a blob is here already."""
        return self._store.blobs.find(digest) is not None

    def begin(self, digest: str, size_bytes: int | None) -> Upload:
        """Begin to take the bytes of a digest; ``size_bytes`` where that is known.

        Raises:
            StorageError: the disk has no room for them.
        """
        self._release_old()
        upload = Upload(self._store, digest, self._keep)
        try:
            check_space(self._store.layout.tmp, size_bytes or 0)
        except BaseException:
            upload.close()
            raise
        return upload

    def release(self, digests: Iterable[str]) -> None:
        """Let go of blobs that a model names by now."""
        with self._lock:
            leases = [self._kept.pop(digest)[1] for digest in digests if digest in self._kept]
        for lease in leases:
            lease.close()

    def close(self) -> None:
        """Let go of all."""
        self.release(list(self._kept))

    def _keep(self, digest: str, lease: ExitStack) -> None:
        with self._lock:
            _, before = self._kept.get(digest, (0.0, ExitStack()))
            self._kept[digest] = self._clock(), lease
        before.close()

    def _release_old(self) -> None:
        oldest = self._clock() - KEPT_S
        with self._lock:
            old = [digest for digest, (since, _) in self._kept.items() if since < oldest]
        self.release(old)


class Upload:
    """One file that comes; blocks, but for `close` after `finish`."""

    def __init__(self, store: Store, digest: str, keep: Callable[[str, ExitStack], None]) -> None:
        self._store = store
        self._digest = digest
        self._keep = keep
        self._stack = ExitStack()
        self._lease = self._stack.enter_context(store.lease([digest]))
        self._path = self._lease.temporary()
        self._hash, self._size_bytes = hashlib.sha256(), 0
        with translated(self._path):
            self._file = self._stack.enter_context(self._path.open("wb", buffering=0))

    def write(self, content: bytes) -> None:
        """Take some bytes.

        Raises:
            StorageError: the disk is full.
        """
        self._hash.update(content)
        self._size_bytes += len(content)
        with translated(self._path):
            write_all(self._file, content)

    def finish(self) -> None:
        """Publish the blob.

        Raises:
            UsageError: the bytes are not those of the digest; nothing is kept.
        """
        if self._hash.hexdigest() != hex_of(self._digest):
            raise UsageError(
                f"the bytes sent are not {self._digest}, their sha256 is {self._hash.hexdigest()}"
            )
        with translated(self._path):
            self._file.close()
        self._store.blobs.publish(self._path, self._digest, self._size_bytes)
        self._keep(self._digest, self._stack.pop_all())

    def close(self) -> None:
        """Throw away what was not finished."""
        self._stack.close()
