"""Blobs: plain files named by the sha256 of their bytes.

A blob's name appears only by a rename after its bytes were hashed and fsynced and its
size was compared with the number of hashed bytes, so a reader needs no lock and no check.
Blobs of other read-only stores (a shared disk) are found too and never copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

from localrun.disk import storage_error, storage_errors
from localrun.errors import IntegrityError, StorageError
from localrun.store.layout import Layout, fsync_folder, hex_of, write_durably
from localrun.store.link import LinkRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from localrun.store.locks import Lease

READ_ONLY = 0o444
CHUNK_BYTES = 4 << 20


class BlobStore:
    """The blobs of one store, and of the read-only stores behind it."""

    def __init__(self, layout: Layout, others: Sequence[Layout] = ()) -> None:
        self.layout = layout
        self._others = tuple(others)

    def find(self, digest: str, size_bytes: int | None = None) -> Path | None:
        """Return the file of a blob, None when no store has it.

        With ``size_bytes``, a file of another size counts as missing: it was cut short.
        """
        for layout in (self.layout, *self._others):
            path = layout.blob(digest)
            with storage_errors(path), contextlib.suppress(FileNotFoundError):
                if path.is_file() and size_bytes in {None, path.stat().st_size}:
                    return path
        return None

    def path(self, digest: str, size_bytes: int | None = None) -> Path:
        """Return the file of a blob; ``size_bytes`` is what its manifest states.

        Raises:
            IntegrityError: no store has it, it has another size, or another program
                changed its bytes.
        """
        path = self.find(digest, size_bytes)
        if path is None:
            raise self._missing(digest, size_bytes)
        self._check_link(digest, path)
        return path

    def read(self, digest: str, *, most: int) -> bytes:
        """Return a small blob's bytes, checked against its digest.

        Raises:
            IntegrityError: it is missing, damaged or has more than ``most`` bytes.
        """
        path = self.path(digest)
        try:
            with path.open("rb") as file:
                content = file.read(most + 1)
        except FileNotFoundError as error:  # swept just now
            raise self._missing(digest) from error
        except OSError as error:
            raise storage_error(error, path) from error
        if len(content) > most:
            raise IntegrityError(f"{digest} has more than {most} bytes")
        if digest_of(content) != digest:
            raise IntegrityError(f"damaged: {path}", hint="localrun verify --repair")
        return content

    def put(self, content: bytes, lease: Lease) -> str:
        """Keep bytes and return their digest; a damaged blob of this digest is replaced."""
        digest = digest_of(content)
        lease.add([digest])
        if not self._has(digest, content):
            temporary = lease.temporary()
            with storage_errors(temporary):
                temporary.write_bytes(content)
                self.publish(temporary, digest, len(content))
        return digest

    def write(self, chunks: Iterable[bytes], digest: str, lease: Lease) -> Path:
        """Keep a stream of bytes that has a known digest.

        Raises:
            IntegrityError: the bytes have another one; nothing is kept.
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
            StorageError: the disk does not hold as many bytes as were hashed.
        """
        final = self.layout.blob(digest)
        with storage_errors(final):
            _fsync_whole(verified, size_bytes)
            verified.replace(final)
            fsync_folder(final.parent)
        return final

    def link(self, linked: Path, original: LinkRecord, digest: str, lease: Lease) -> Path:
        """Publish a hard link to another tool's file and note whose it is.

        The file's mode is left alone, for it is the other tool's too.
        """
        final = self.layout.blob(digest)
        with storage_errors(final):
            _fsync(linked)  # the tool may have written it just now
            self.record_link(digest, original, lease)
            linked.replace(final)
            fsync_folder(final.parent)
        return final

    def record_link(self, digest: str, original: LinkRecord, lease: Lease) -> None:
        """Write down whose file a blob shares its bytes with, and how they are now."""
        note = self.layout.link(digest)
        with storage_errors(note):
            write_durably(note, original.to_json(), lease.temporary())

    def link_of(self, digest: str) -> LinkRecord | None:
        """Return whose file our blob shares its bytes with, None for one of our own.

        A damaged note counts as none: what changed is then found when the blob is verified.
        """
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            noted = LinkRecord.from_json(self.layout.link(digest).read_bytes())
            if noted.inode == self.layout.blob(digest).stat().st_ino:
                return noted
        return None

    def remove_stale_link(self, digest: str) -> None:
        """Delete a note that no blob goes by any more; the caller holds the store's lock."""
        if self.link_of(digest) is None:
            with storage_errors(self.layout.root):
                self.layout.link(digest).unlink(missing_ok=True)

    def remove(self, digest: str) -> int:
        """Delete a blob of this store and return the bytes that this frees."""
        path = self.layout.blob(digest)
        freed = self.own_bytes(digest)
        with storage_errors(path):
            path.unlink(missing_ok=True)
            self.layout.link(digest).unlink(missing_ok=True)
        return freed

    def own_bytes(self, digest: str) -> int:
        """Return the bytes that a blob's removal would free: none that others share."""
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
        """Return whether a file is missing or was cut short."""
        path, hint = self.find(digest), "localrun verify --repair"
        if path is None or size_bytes is None:
            return IntegrityError(f"a file of the model is missing: {digest}", hint=hint)
        return IntegrityError(f"damaged: {path} does not have {size_bytes} bytes", hint=hint)

    def _check_link(self, digest: str, path: Path) -> None:
        """Refuse a blob whose bytes another program may have changed since it was verified."""
        known = self.link_of(digest) if path == self.layout.blob(digest) else None
        if known is None:
            return
        try:
            now = LinkRecord.of(path)
        except OSError as error:  # swept just now
            raise self._missing(digest) from error
        if (now.size_bytes, now.modified_ns) != (known.size_bytes, known.modified_ns):
            raise IntegrityError(
                f"another program changed {known.path}, which was imported from there",
                hint="localrun verify --repair",
            )


def _fsync_whole(path: Path, size_bytes: int) -> None:
    """Wait until a file is on the disk, make it read-only, and check that none of it is missing."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.fchmod(descriptor, READ_ONLY)
        written = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    if written != size_bytes:
        raise StorageError(
            f"the disk holds {written} of {size_bytes} bytes written to {path}", hint="try it again"
        )


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_of(content: bytes) -> str:
    """Return ``sha256:<hex>`` of bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def file_digest(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return ``sha256:<hex>`` of a file's bytes; reads all of it without the GIL."""
    hashed = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hashed.update(buffer[:count])
            if on_bytes is not None:
                on_bytes(count)
    return f"sha256:{hashed.hexdigest()}"
