"""Take a file that lies elsewhere into the store, without a copy where that is possible.

In this order: a clone that shares its blocks (FICLONE: btrfs, XFS, bcachefs), a hard
link, a copy. The bytes are hashed once in any case. Of a clone and a link the taken file is
hashed; of a copy the buffer, each byte of which the system accepted, and `BlobStore.publish`
compares the size after fsync. To read a copy back would read the page cache, which the same
buffer has just filled. The other file is neither moved nor changed; for a hard link it is
noted whose bytes these are (see `BlobStore.link`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.disk import NO_SPACE, storage_error, write_all
from localrun.errors import IntegrityError, StorageError
from localrun.store.blobs import file_digest
from localrun.store.link import LinkRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.store.locks import Lease
    from localrun.store.store import Store

FICLONE = 0x40049409
CHUNK_BYTES = 8 << 20
CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}


class AdoptMode(StrEnum):
    """How a file may come into the store."""

    AUTO = "auto"  # without a copy where possible
    COPY = "copy"  # bytes of its own; a clone is as good
    LINK = "link"  # a hard link, or an error
    MOVE = "move"  # it is the store's own then; the caller deletes the other name


class AdoptMethod(StrEnum):
    """How a file came into the store."""

    HERE = "here"  # it was already
    CLONED = "cloned"
    LINKED = "linked"
    COPIED = "copied"
    MOVED = "moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A file that is a blob now."""

    digest: str
    size_bytes: int
    path: Path
    way: AdoptMethod


def adopt(
    store: Store,
    source: Path,
    lease: Lease,
    on_bytes: Callable[[int], None] | None = None,
    *,
    taking: AdoptMode = AdoptMode.AUTO,
) -> Adopted:
    """Make a blob of a file's bytes; blocks while it is hashed.

    Raises:
        IntegrityError: the file changed while it was read.
        StorageError: it cannot be read, or the store not written, or not be linked.
    """
    told = on_bytes or (lambda _count: None)
    taken = lease.temporary()
    try:
        if taking in {AdoptMode.AUTO, AdoptMode.COPY} and _clone(source, taken):
            return _keep(store, source, taken, lease, AdoptMethod.CLONED, told)
        if taking is not AdoptMode.COPY and _link(source, taken):
            way = AdoptMethod.MOVED if taking is AdoptMode.MOVE else AdoptMethod.LINKED
            return _keep(store, source, taken, lease, way, told)
        if taking is AdoptMode.LINK:
            raise StorageError(
                f"{source} cannot be linked into {store.layout.root}: another file system",
                hint="leave --link out to copy it",
            )
        return _copy(store, source, taken, lease, told)
    except OSError as error:
        raise storage_error(error, _at_fault(error, source, taken)) from error
    finally:
        taken.unlink(missing_ok=True)


def _keep(
    store: Store,
    source: Path,
    taken: Path,
    lease: Lease,
    way: AdoptMethod,
    told: Callable[[int], None],
) -> Adopted:
    """Hash what was taken and give it its name."""
    before = LinkRecord.of(taken)
    digest = file_digest(taken, told)
    if LinkRecord.of(taken) != before:
        raise _changed(source)
    lease.add([digest])
    path = store.blobs.find(digest, before.size_bytes)
    if path is not None:
        return Adopted(digest=digest, size_bytes=before.size_bytes, path=path, way=AdoptMethod.HERE)
    if way is AdoptMethod.LINKED:
        path = store.blobs.link(taken, replace(before, path=str(source)), digest, lease)
    else:
        path = store.blobs.publish(taken, digest, before.size_bytes)
    return Adopted(digest=digest, size_bytes=before.size_bytes, path=path, way=way)


def _copy(
    store: Store, source: Path, taken: Path, lease: Lease, told: Callable[[int], None]
) -> Adopted:
    """Copy and hash in one pass."""
    before, hashed, size = LinkRecord.of(source), hashlib.sha256(), 0
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with source.open("rb", buffering=0) as reader, taken.open("wb", buffering=0) as writer:
        while count := reader.readinto(buffer):
            write_all(writer, buffer[:count])
            hashed.update(buffer[:count])
            size += count
            told(count)
    if LinkRecord.of(source) != before:
        raise _changed(source)
    digest = f"sha256:{hashed.hexdigest()}"
    lease.add([digest])
    path = store.blobs.find(digest, size)
    if path is not None:
        return Adopted(digest=digest, size_bytes=size, path=path, way=AdoptMethod.HERE)
    path = store.blobs.publish(taken, digest, size)
    return Adopted(digest=digest, size_bytes=size, path=path, way=AdoptMethod.COPIED)


def _clone(source: Path, taken: Path) -> bool:
    """Share the blocks of a file, each side keeping its own from the first change on."""
    with source.open("rb") as reader, taken.open("wb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), FICLONE, reader.fileno())
        except OSError:
            return False
    return True


def _link(source: Path, taken: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        taken.unlink()
    try:
        os.link(source, taken, follow_symlinks=True)
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        return False
    return True


def _changed(source: Path) -> IntegrityError:
    return IntegrityError(f"{source} changed while it was read", hint="try it again")


def _at_fault(error: OSError, source: Path, taken: Path) -> Path:
    """Return the file that the system refused: what it names, else the one it cannot write."""
    if error.errno in NO_SPACE or error.errno == errno.EFBIG:
        return taken
    return Path(error.filename) if isinstance(error.filename, str) else source
