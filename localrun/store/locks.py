"""Locks and leases between the processes that share a store.

A lease keeps digests that a reference will name soon. It is a file that its process keeps locked;
the lock ends with the process, however that ends, so a lease whose lock can be taken is dead.
Beginning a lease or adding to it takes the store's lock for an instant; garbage collection holds
that lock. So a digest leased before a collection is kept, and a digest leased after its blob was
collected is seen to be missing by the process that leases it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import threading
import uuid
from typing import TYPE_CHECKING

from localrun.disk import storage_errors, write_all
from localrun.errors import StorageError
from localrun.store.layout import discard
from localrun.system.locks import NoLocksError, lock, unlock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from localrun.store.layout import Layout

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
        with storage_errors(self._path):
            with self._file:
                for left in self._layout.tmp.glob(f"{self.id}-*"):
                    discard(left)
            self._path.unlink(missing_ok=True)  # closed: an open file stays on Windows


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
        with contextlib.suppress(FileNotFoundError):
            digests = _living_digests(path)
            if digests is None:
                path.unlink(missing_ok=True)
            else:
                living[path.name] = digests
    return living


def _living_digests(path: Path) -> set[str] | None:
    """Return the digests of a lease, None if it is dead."""
    with path.open() as file:
        is_dead = try_lock(file.fileno(), shared=True)
        return None if is_dead else set(file.read().split())


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock while the block runs; blocks until it is free.

    Raises:
        StorageError: the file system has no locks, and the lock is exclusive.
    """
    with path.open("a") as file:
        try:
            lock(file.fileno(), shared=shared)
        except NoLocksError as error:
            if not shared:
                raise StorageError(f"the file system of {path} does not support locks") from error
            _log.debug("no locks at %s, continuing without", path)
        yield


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file if nobody else has locked it; the lock ends when the file is closed."""
    try:
        lock(descriptor, shared=shared, wait=False)
    except (BlockingIOError, NoLocksError):
        return False
    return True


def can_lock(descriptor: int) -> bool:
    """Return whether the file system supports locks."""
    try:
        unlock(descriptor)
    except NoLocksError:
        return False
    return True
