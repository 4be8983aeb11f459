"""Where everything in a store is, and how files come to be there.

    <root>/
      localrun-store.json              {"format_version": 1}
      CACHEDIR.TAG                     backup programs leave the folder out
      lock                             taken to sweep, and for an instant to begin a lease
      blobs/sha256/<hex>               complete, verified, read-only; the name is its digest
      refs/<host>/<namespace>/<model>/<tag>     JSON: a name and the digest of its manifest
      links/<hex>                      JSON: the blob shares its bytes with another tool's file
      leases/<id>                      digests that a living process needs, before a ref names them
      partial/<key>/                   a download: data and journal, safe to go on with or to delete
      tmp/<lease id>-<n>               being written by the process of that lease

A name outside ``partial`` and ``tmp`` is complete: written under another name,
fsynced, renamed, its folder fsynced. So any process may die at any instant.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.disk import storage_error, storage_errors
from localrun.errors import IntegrityError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT_VERSION = 1
MARKER = "localrun-store.json"
CACHEDIR_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# models of localrun\n"
FOLDERS = ("blobs/sha256", "refs", "links", "leases", "partial", "tmp")
NO_FOLDER_FSYNC = {errno.EINVAL, errno.EOPNOTSUPP}  # some network file systems
LONGEST_NAME = 200  # bytes; file systems take 255, a file in a hub can have more


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one store."""

    root: Path

    def blob(self, digest: str) -> Path:
        """Return where a blob is or would be."""
        return self.root / "blobs" / "sha256" / hex_of(digest)

    def ref(self, key: tuple[str, ...]) -> Path:
        """Return where the ref of a name's key is or would be."""
        return self.refs.joinpath(*map(_short, key))

    def link(self, digest: str) -> Path:
        """Return where it is noted that a blob is another tool's file."""
        return self.root / "links" / hex_of(digest)

    @property
    def blobs(self) -> Path:
        """Return the folder of all blobs."""
        return self.root / "blobs" / "sha256"

    @property
    def refs(self) -> Path:
        """Return the folder of all refs."""
        return self.root / "refs"

    @property
    def leases(self) -> Path:
        """Return the folder of leases."""
        return self.root / "leases"

    @property
    def partial(self) -> Path:
        """Return the folder of downloads that are not complete."""
        return self.root / "partial"

    @property
    def tmp(self) -> Path:
        """Return the folder of files that are being written."""
        return self.root / "tmp"

    @property
    def lock(self) -> Path:
        """Return the file to lock."""
        return self.root / "lock"


def hex_of(digest: str) -> str:
    """Return the hex digits of ``sha256:<hex>``.

    Raises:
        IntegrityError: it is none, so that no digest from outside becomes a path.
    """
    algorithm, _, digits = digest.partition(":")
    is_hex = len(digits) == 64 and set(digits) <= set("0123456789abcdef")  # noqa: PLR2004
    if algorithm != "sha256" or not is_hex:
        raise IntegrityError(f"not a sha256 digest: {digest[:100]!r}")
    return digits


def check_version(layout: Layout) -> bool:
    """Return whether there is a store; False means that nothing was kept there yet.

    Raises:
        StorageError: a later localrun made the store, or its marker is damaged.
    """
    marker = layout.root / MARKER
    try:
        version = json.loads(marker.read_bytes()).get("format_version")
    except FileNotFoundError:
        return False
    except (ValueError, AttributeError, RecursionError) as error:
        raise StorageError(f"damaged: {marker}", hint=f"delete {marker}; models stay") from error
    except OSError as error:
        raise storage_error(error, marker) from error
    if version != FORMAT_VERSION:
        raise StorageError(
            f"the store {layout.root} has format {version}, this localrun reads {FORMAT_VERSION}",
            hint="update localrun, or set LOCALRUN_MODELS to another folder",
        )
    return True


def create(layout: Layout) -> None:
    """Make the folders of a store; nothing happens to one that is there.

    Raises:
        StorageError: the folder cannot be written.
    """
    with storage_errors(layout.root):
        is_there = check_version(layout)
        for folder in FOLDERS:
            (layout.root / folder).mkdir(parents=True, exist_ok=True)
        if not is_there:
            (layout.root / "CACHEDIR.TAG").write_text(CACHEDIR_TAG)
            fsync_folder(layout.blobs.parent)
            _write_marker(layout)


def write_durably(path: Path, content: bytes, temporary: Path) -> None:
    """Write a file that is either whole under its name or not there."""
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_FSYNC:
            raise
    finally:
        os.close(descriptor)


def discard_folder(folder: Path, temporary: Path) -> None:
    """Delete a folder in one step for all who look, so that nobody goes on in half of it."""
    with contextlib.suppress(FileNotFoundError):
        folder.rename(temporary)
        shutil.rmtree(temporary)


def discard(path: Path) -> None:
    """Delete what is in ``tmp``, file or folder; nothing happens if it has gone."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _write_marker(layout: Layout) -> None:
    content = json.dumps({"format_version": FORMAT_VERSION}) + "\n"
    try:
        write_durably(
            layout.root / MARKER, content.encode(), layout.tmp / f"marker-{uuid.uuid4().hex}"
        )
    except FileNotFoundError:  # swept: another process was faster to make the store
        if not check_version(layout):
            raise


def _short(part: str) -> str:
    """Cut a name that is too long for a file system; its hash keeps it apart from others."""
    if len(part) <= LONGEST_NAME:
        return part
    return f"{part[:128]}%{hashlib.sha256(part.encode()).hexdigest()}"
