"""Adoption of files: makes an existing file a blob, without a copy where possible.

Tries in this order: a clone that shares its blocks (FICLONE: btrfs, XFS, bcachefs), a hard link, a
copy. The bytes are hashed once in each case. For a clone and a link the adopted file is hashed; for
a copy the buffer is hashed, and `BlobStore.publish` compares the size after fsync. Reading a copy
back would only read the page cache, which the same buffer has just filled. The source file is
neither moved nor changed; a hard link is recorded (see `BlobStore.link`).
"""

from __future__ import annotations

import contextlib
import errno
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
from localrun.system.files import share_blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.store.locks import Lease
    from localrun.store.store import Store

CHUNK_BYTES = 8 << 20
CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}


class AdoptMode(StrEnum):
    """Ways in which a file may enter the store."""

    AUTO = "auto"  # without a copy if possible
    COPY = "copy"  # separate bytes; a clone will do
    LINK = "link"  # a hard link or an error
    MOVE = "move"  # the store owns the file; the caller deletes the other name


class AdoptMethod(StrEnum):
    """How a file entered the store."""

    HERE = "here"  # the store had the blob
    CLONED = "cloned"
    LINKED = "linked"
    COPIED = "copied"
    MOVED = "moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """File that is a blob now."""

    digest: str
    size_bytes: int
    path: Path
    method: AdoptMethod


def adopt(
    store: Store,
    source: Path,
    lease: Lease,
    on_bytes: Callable[[int], None] | None = None,
    *,
    mode: AdoptMode = AdoptMode.AUTO,
) -> Adopted:
    """Make a blob of a file; blocks while the file is hashed.

    Raises:
        IntegrityError: the file changed while it was read.
        StorageError: the file cannot be read or linked, or the store cannot be written.
    """
    report = on_bytes or (lambda _count: None)
    temporary = lease.temporary()
    try:
        if mode in {AdoptMode.AUTO, AdoptMode.COPY} and _clone(source, temporary):
            return _keep(store, source, temporary, lease, AdoptMethod.CLONED, report)
        if mode is not AdoptMode.COPY and _link(source, temporary):
            method = AdoptMethod.MOVED if mode is AdoptMode.MOVE else AdoptMethod.LINKED
            return _keep(store, source, temporary, lease, method, report)
        if mode is AdoptMode.LINK:
            raise StorageError(
                f"{source} cannot be linked into {store.layout.root}: another file system",
                hint="without --link the file is copied",
            )
        return _copy(store, source, temporary, lease, report)
    except OSError as error:
        raise storage_error(error, _at_fault(error, source, temporary)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _keep(
    store: Store,
    source: Path,
    temporary: Path,
    lease: Lease,
    method: AdoptMethod,
    report: Callable[[int], None],
) -> Adopted:
    """Hash an adopted file and give it its name."""
    before = LinkRecord.of(temporary)
    digest = file_digest(temporary, report)
    if LinkRecord.of(temporary) != before:
        raise _changed(source)
    lease.add([digest])
    path = store.blobs.find(digest, before.size_bytes)
    if path is not None:
        return Adopted(
            digest=digest, size_bytes=before.size_bytes, path=path, method=AdoptMethod.HERE
        )
    if method is AdoptMethod.LINKED:
        path = store.blobs.link(temporary, replace(before, path=str(source)), digest, lease)
    else:
        path = store.blobs.publish(temporary, digest, before.size_bytes)
    return Adopted(digest=digest, size_bytes=before.size_bytes, path=path, method=method)


def _copy(
    store: Store, source: Path, temporary: Path, lease: Lease, report: Callable[[int], None]
) -> Adopted:
    """Copy and hash in one pass."""
    before, hashed, size = LinkRecord.of(source), hashlib.sha256(), 0
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with source.open("rb", buffering=0) as reader, temporary.open("wb", buffering=0) as writer:
        while count := reader.readinto(buffer):
            write_all(writer, buffer[:count])
            hashed.update(buffer[:count])
            size += count
            report(count)
    if LinkRecord.of(source) != before:
        raise _changed(source)
    digest = f"sha256:{hashed.hexdigest()}"
    lease.add([digest])
    path = store.blobs.find(digest, size)
    if path is not None:
        return Adopted(digest=digest, size_bytes=size, path=path, method=AdoptMethod.HERE)
    path = store.blobs.publish(temporary, digest, size)
    return Adopted(digest=digest, size_bytes=size, path=path, method=AdoptMethod.COPIED)


def _clone(source: Path, temporary: Path) -> bool:
    """Share the blocks of a file; later changes on one side do not affect the other."""
    with source.open("rb") as reader, temporary.open("wb") as writer:
        return share_blocks(reader.fileno(), writer.fileno())


def _link(source: Path, temporary: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    try:
        os.link(source, temporary, follow_symlinks=True)
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        return False
    return True


def _changed(source: Path) -> IntegrityError:
    return IntegrityError(f"{source} changed while it was read", hint="try again")


def _at_fault(error: OSError, source: Path, temporary: Path) -> Path:
    """Return the file that caused an error: the one it names, else the unwritable one."""
    if error.errno in NO_SPACE or error.errno == errno.EFBIG:
        return temporary
    return Path(error.filename) if isinstance(error.filename, str) else source
