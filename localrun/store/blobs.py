"""Blobs: plain files named by the sha256 of their bytes.

A blob's name appears only by a rename after its bytes were hashed and fsynced, so a
reader needs no lock and no check. Blobs of other read-only stores (a shared disk) are
found too and never copied.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from localrun.errors import IntegrityError
from localrun.store.layout import Layout, fsync_folder, hex_of, translated, write_durably

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from localrun.store.locks import Lease

READ_ONLY = 0o444
CHUNK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The file of another tool whose bytes a blob shares, as it was then."""

    path: str
    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Describe a file as it is now."""
        status = path.stat()
        return cls(path=str(path), size_bytes=status.st_size, modified_ns=status.st_mtime_ns)


class BlobStore:
    """The blobs of one store, and of the read-only stores behind it."""

    def __init__(self, layout: Layout, others: Sequence[Layout] = ()) -> None:
        self.layout = layout
        self._others = tuple(others)

    def find(self, digest: str) -> Path | None:
        """Return the file of a blob, None when no store has it."""
        for layout in (self.layout, *self._others):
            path = layout.blob(digest)
            if path.is_file():
                return path
        return None

    def path(self, digest: str) -> Path:
        """Return the file of a blob.

        Raises:
            IntegrityError: no store has it, or another program changed its bytes.
        """
        path = self.find(digest)
        if path is None:
            raise IntegrityError(
                f"a file of the model is missing: {digest}", hint="localrun verify --repair"
            )
        self._check_link(digest, path)
        return path

    def read(self, digest: str, *, most: int) -> bytes:
        """Return a small blob's bytes, checked against its digest.

        Raises:
            IntegrityError: it is missing, damaged or has more than ``most`` bytes.
        """
        path = self.path(digest)
        with translated(path), path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise IntegrityError(f"{digest} has more than {most} bytes")
        if digest_of(content) != digest:
            raise IntegrityError(f"damaged: {path}", hint="localrun verify --repair")
        return content

    def put(self, content: bytes, lease: Lease) -> str:
        """Keep bytes and return their digest."""
        digest = digest_of(content)
        lease.add([digest])
        if self.find(digest) is None:
            temporary = lease.temporary()
            with translated(temporary):
                temporary.write_bytes(content)
                self.publish(temporary, digest)
        return digest

    def write(self, chunks: Iterable[bytes], digest: str, lease: Lease) -> Path:
        """Keep a stream of bytes that has a known digest.

        Raises:
            IntegrityError: the bytes have another one; nothing is kept.
        """
        lease.add([digest])
        temporary, hashed = lease.temporary(), hashlib.sha256()
        with translated(temporary), temporary.open("wb") as file:
            for chunk in chunks:
                hashed.update(chunk)
                file.write(chunk)
        if hashed.hexdigest() != hex_of(digest):
            temporary.unlink()
            raise IntegrityError(f"wrong bytes for {digest}: their digest is {hashed.hexdigest()}")
        return self.publish(temporary, digest)

    def publish(self, verified: Path, digest: str) -> Path:
        """Give a file its final name; the caller hashed its bytes and leases the digest."""
        final = self.layout.blob(digest)
        with translated(final):
            descriptor = os.open(verified, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.fchmod(descriptor, READ_ONLY)
            finally:
                os.close(descriptor)
            verified.replace(final)
            fsync_folder(final.parent)
        return final

    def link(self, linked: Path, original: Link, digest: str, lease: Lease) -> Path:
        """Publish a hard link to another tool's file and note whose it is.

        The file's mode is left alone, for it is the other tool's too.
        """
        note = json.dumps({"format_version": 1, **_fields(original)}, sort_keys=True)
        final = self.layout.blob(digest)
        with translated(final):
            write_durably(self.layout.link(digest), note.encode(), lease.temporary())
            linked.replace(final)
            fsync_folder(final.parent)
        return final

    def remove(self, digest: str) -> int:
        """Delete a blob of this store and return the bytes that this frees."""
        path = self.layout.blob(digest)
        with translated(path), contextlib.suppress(FileNotFoundError):
            status = path.stat()
            path.unlink()
            self.layout.link(digest).unlink(missing_ok=True)
            return 0 if status.st_nlink > 1 else status.st_size
        return 0

    def _check_link(self, digest: str, path: Path) -> None:
        """Refuse a blob whose bytes another program may have changed since it was verified."""
        note = self.layout.link(digest)
        if path != self.layout.blob(digest) or not note.is_file():
            return
        try:
            known = json.loads(note.read_bytes())
            expected = (known["size_bytes"], known["modified_ns"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) != expected:
            raise IntegrityError(
                f"another program changed {known['path']}, which was imported from there",
                hint="localrun verify --repair",
            )


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


def is_own(path: Path) -> bool:
    """Tell whether no other name shares the file's bytes."""
    return path.stat()[stat.ST_NLINK] == 1


def _fields(link: Link) -> dict[str, str | int]:
    return {
        "path": link.path,
        "size_bytes": link.size_bytes,
        "modified_ns": link.modified_ns,
    }
