"""Locks and leases between the processes that share a store.

A lease keeps digests that a reference will name soon. It is a file that its process keeps locked;
the lock ends with the process, however that ends, so a lease whose lock can be taken is dead.
Beginning a lease or adding to it takes the store's lock for an instant; garbage collection holds
that lock. So a digest leased before a collection is kept, and a digest leased after its blob was
collected is seen to be missing by the process that leases it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import logging
import os
import shutil
import threading
import uuid
from typing import TYPE_CHECKING

from localrun.disk import storage_errors, write_all
from localrun.errors import StorageError
from localrun.store.layout import discard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from localrun.store.layout import Layout

UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
_log = logging.getLogger(__name__)


class Lease:
    """Digests that one process needs while it works on the store. Safe to use from many threads."""

    def __init__(self, layout: Layout) -> None:
        self.id = uuid.uuid4().hex
        self._layout = layout
        self._path = layout.leases / self.id
        self._counter = itertools.count(1)
        self._adding = threading.Lock()  # guards writes to _file; taken before the store's lock
        self._file = self._path.open("xb", buffering=0)
        try_lock(self._file.fileno())

    def add(self, digests: Iterable[str]) -> None:
        """Keep digests from garbage collection from now on."""
        lines = "".join(f"\n{digest}" for digest in digests) + "\n"
        with self._adding, storage_errors(self._path), locked(self._layout.lock, shared=True):
            write_all(self._file, lines.encode())

    def temporary(self) -> Path:
        """Return a unique path in ``tmp``."""
        return self._layout.tmp / f"{self.id}-{next(self._counter)}"

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """Create a folder in ``tmp``, and delete it after the block."""
        path = self.temporary()
        with storage_errors(path):
            path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def end(self) -> None:
        """Release the lease; references must name everything that is to stay."""
        with self._file, storage_errors(self._path):
            for left in self._layout.tmp.glob(f"{self.id}-*"):
                discard(left)
            self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def leased(layout: Layout, digests: Iterable[str] = ()) -> Iterator[Lease]:
    """Hold a lease while the block runs."""
    with storage_errors(layout.leases), locked(layout.lock, shared=True):
        lease = Lease(layout)
    try:
        lease.add(digests)
        yield lease
    finally:
        lease.end()


def living_leases(layout: Layout) -> dict[str, set[str]]:
    """Return the digests of the leases of living processes; delete dead leases.

    The caller holds the store's lock.
    """
    living = {}
    for path in list(layout.leases.iterdir()):
        with contextlib.suppress(FileNotFoundError), path.open() as file:
            if try_lock(file.fileno(), shared=True):
                path.unlink(missing_ok=True)
            else:
                living[path.name] = set(file.read().split())
    return living


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock while the block runs; blocks until it is free.

    Raises:
        StorageError: the file system has no locks, and the lock is exclusive.
    """
    with path.open("a") as file:
        _flock(
            file.fileno(), fcntl.LOCK_SH if shared else fcntl.LOCK_EX, path, is_needed=not shared
        )
        yield


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file if nobody else has locked it; the lock ends when the file is closed."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    return True


def can_lock(descriptor: int) -> bool:
    """Return whether the file system supports locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    return True


def _flock(descriptor: int, kind: int, path: Path, *, is_needed: bool) -> None:
    try:
        fcntl.flock(descriptor, kind)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        if is_needed:
            raise StorageError(f"the file system of {path} does not support locks") from error
        _log.debug("no locks at %s, continuing without", os.fspath(path))
