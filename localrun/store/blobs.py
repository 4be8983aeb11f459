"""Blob store: plain files named by the SHA-256 of their bytes.

A blob gets its name by a rename after its bytes were hashed and fsynced and its size was compared
with the number of hashed bytes, so readers need no lock and no check. Blobs of read-only stores
(a shared disk) are found too and never copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

from localrun.disk import storage_error, storage_errors
from localrun.errors import IntegrityError, StorageError
from localrun.store.layout import Layout, hex_of, write_durably
from localrun.store.link import LinkRecord
from localrun.system.files import TO_SYNC, replace_file, set_mode, sync_file, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from localrun.store.locks import Lease

READ_ONLY = 0o444
CHUNK_BYTES = 4 << 20


class BlobStore:
    """Blobs of one store, and of the read-only stores behind it."""

    def __init__(self, layout: Layout, others: Sequence[Layout] = ()) -> None:
        self.layout = layout
        self._others = tuple(others)

    def find(self, digest: str, size_bytes: int | None = None) -> Path | None:
        """Return the file of a blob, or None if no store has it.

        If ``size_bytes`` is given, a file of another size counts as missing, because it is
        truncated.
        """
        for layout in (self.layout, *self._others):
            path = layout.blob(digest)
            with storage_errors(path), contextlib.suppress(FileNotFoundError):
                if path.is_file() and size_bytes in {None, path.stat().st_size}:
                    return path
        return None

    def path(self, digest: str, size_bytes: int | None = None) -> Path:
        """Return the file of a blob; ``size_bytes`` is the size in its manifest.

        Raises:
            IntegrityError: the blob is missing, has another size, or another program changed
                its bytes.
        """
        path = self.find(digest, size_bytes)
        if path is None:
            raise self._missing(digest, size_bytes)
        self._check_link(digest, path)
        return path

    def read(self, digest: str, *, max_bytes: int) -> bytes:
        """Return the bytes of a small blob, verified against its digest.

        Raises:
            IntegrityError: the blob is missing, damaged or larger than ``max_bytes``.
        """
        path = self.path(digest)
        try:
            with path.open("rb") as file:
                content = file.read(max_bytes + 1)
        except FileNotFoundError as error:  # garbage collected just now
            raise self._missing(digest) from error
        except OSError as error:
            raise storage_error(error, path) from error
        if len(content) > max_bytes:
            raise IntegrityError(f"{digest} has more than {max_bytes} bytes")
        if digest_of(content) != digest:
            raise IntegrityError(f"damaged: {path}", hint="localrun verify --repair")
        return content

    def put(self, content: bytes, lease: Lease) -> str:
        """Store bytes and return their digest; a damaged blob of this digest is replaced."""
        digest = digest_of(content)
        lease.add([digest])
        if not self._has(digest, content):
            temporary = lease.temporary()
            with storage_errors(temporary):
                temporary.write_bytes(content)
                self.publish(temporary, digest, len(content))
        return digest

    def write(self, chunks: Iterable[bytes], digest: str, lease: Lease) -> Path:
        """Store a stream of bytes with a known digest.

        Raises:
            IntegrityError: the bytes have another digest; nothing is stored.
        """
        lease.add([digest])
        temporary, hashed, size_bytes = lease.temporary(), hashlib.sha256(), 0
        with storage_errors(temporary), temporary.open("wb") as file:
            for chunk in chunks:
                hashed.update(chunk)
                size_bytes += len(chunk)
                file.write(chunk)
        if hashed.hexdigest() != hex_of(digest):
            temporary.unlink()
            raise IntegrityError(
                f"digest mismatch: the bytes have sha256:{hashed.hexdigest()}, not {digest}"
            )
        return self.publish(temporary, digest, size_bytes)

    def publish(self, verified: Path, digest: str, size_bytes: int) -> Path:
        """Give a file its final name; the caller hashed ``size_bytes`` and leases the digest.

        Raises:
            StorageError: the disk has fewer bytes than were hashed.
        """
        final = self.layout.blob(digest)
        with storage_errors(final):
            _fsync_whole(verified, size_bytes)
            replace_file(verified, final)
            sync_folder(final.parent)
        return final

    def link(self, linked: Path, original: LinkRecord, digest: str, lease: Lease) -> Path:
        """Publish a hard link to another tool's file, and record that file.

        The file's mode is unchanged, because it is also the other tool's.
        """
        final = self.layout.blob(digest)
        with storage_errors(final):
            sync_file(linked)  # the tool may just have written it
            self.record_link(digest, original, lease)
            replace_file(linked, final)
            sync_folder(final.parent)
        return final

    def record_link(self, digest: str, original: LinkRecord, lease: Lease) -> None:
        """Record the file that a blob shares its bytes with, and the file's current state."""
        path = self.layout.link(digest)
        with storage_errors(path):
            write_durably(path, original.to_json(), lease.temporary())

    def link_of(self, digest: str) -> LinkRecord | None:
        """Return the record of the file that a blob shares its bytes with, or None.

        A damaged record counts as none: verification of the blob still detects changed bytes.
        """
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            record = LinkRecord.from_json(self.layout.link(digest).read_bytes())
            if record.inode == self.layout.blob(digest).stat().st_ino:
                return record
        return None

    def remove_stale_link(self, digest: str) -> None:
        """Delete a link record without blob; the caller holds the store's lock."""
        if self.link_of(digest) is None:
            with storage_errors(self.layout.root):
                self.layout.link(digest).unlink(missing_ok=True)

    def remove(self, digest: str) -> int:
        """Delete a blob of this store, and return the bytes that this frees."""
        path = self.layout.blob(digest)
        freed = self.own_bytes(digest)
        with storage_errors(path):
            path.unlink(missing_ok=True)
            self.layout.link(digest).unlink(missing_ok=True)
        return freed

    def own_bytes(self, digest: str) -> int:
        """Return the bytes that deleting a blob would free, without those that links share."""
        path = self.layout.blob(digest)
        with storage_errors(path), contextlib.suppress(FileNotFoundError):
            status = path.stat()
            return 0 if status.st_nlink > 1 else status.st_size
        return 0

    def _has(self, digest: str, content: bytes) -> bool:
        path = self.find(digest, len(content))
        if path is None:
            return False
        with storage_errors(path):
            return path.read_bytes() == content

    def _missing(self, digest: str, size_bytes: int | None = None) -> IntegrityError:
        """Return the error of a missing or truncated blob."""
        path, hint = self.find(digest), "localrun verify --repair"
        if path is None or size_bytes is None:
            return IntegrityError(f"a file of the model is missing: {digest}", hint=hint)
        return IntegrityError(f"damaged: {path} does not have {size_bytes} bytes", hint=hint)

    def _check_link(self, digest: str, path: Path) -> None:
        """Raise if another program changed a linked blob since its verification."""
        known = self.link_of(digest) if path == self.layout.blob(digest) else None
        if known is None:
            return
        try:
            now = LinkRecord.of(path)
        except OSError as error:  # garbage collected just now
            raise self._missing(digest) from error
        if (now.size_bytes, now.modified_ns) != (known.size_bytes, known.modified_ns):
            raise IntegrityError(
                f"another program changed {known.path}, which was imported from there",
                hint="localrun verify --repair",
            )


def _fsync_whole(path: Path, size_bytes: int) -> None:
    """Fsync a file, make it read-only, and check that it has all its bytes."""
    descriptor = os.open(path, TO_SYNC)
    try:
        os.fsync(descriptor)
        set_mode(descriptor, READ_ONLY)
        written = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    if written != size_bytes:
        raise StorageError(
            f"the disk holds {written} of {size_bytes} bytes written to {path}", hint="try again"
        )


def digest_of(content: bytes) -> str:
    """Return ``sha256:<hex>`` of bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def file_digest(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return ``sha256:<hex>`` of a file; reads the whole file, without the GIL."""
    hashed = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hashed.update(buffer[:count])
            if on_bytes is not None:
                on_bytes(count)
    return f"sha256:{hashed.hexdigest()}"
