"""Layout of a store: the path of everything in it, and how files come to be there.

    <root>/
      localrun-store.json              {"format_version": 1}
      CACHEDIR.TAG                     backup programs leave the folder out
      lock                             held by garbage collection, and briefly to begin a lease
      blobs/sha256/<hex>               complete, verified, read-only; the name is its digest
      refs/<host>/<namespace>/<model>/<tag>     JSON: a name and the digest of its manifest
      links/<hex>                      JSON: the blob shares its bytes with another tool's file
      translations/<hex>               JSON: the blobs that were made here of a published file
      leases/<id>                      digests that a living process needs before a reference exists
      partial/<key>/                   a download: data and journal, may be resumed or deleted
      tmp/<lease id>-<n>               being written by the process of that lease

A name outside ``partial`` and ``tmp`` is complete: written under another name, fsynced, renamed,
its folder fsynced. So any process may die at any instant.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.disk import storage_error, storage_errors
from localrun.errors import IntegrityError, StorageError
from localrun.system.files import replace_file, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

FORMAT_VERSION = 1
MARKER = "localrun-store.json"
CACHEDIR_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# models of localrun\n"
FOLDERS = ("blobs/sha256", "refs", "links", "leases", "partial", "tmp")
LONGEST_NAME = 200  # bytes; file systems take 255, a file in a hub can have more


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one store."""

    root: Path

    def blob(self, digest: str) -> Path:
        """Return the path of a blob, which need not exist."""
        return self.root / "blobs" / "sha256" / hex_of(digest)

    def ref(self, key: tuple[str, ...]) -> Path:
        """Return the path of the reference of a name's key, which need not exist."""
        return self.refs.joinpath(*map(_short, key))

    def link(self, digest: str) -> Path:
        """Return the path of the record that a blob is another tool's file."""
        return self.root / "links" / hex_of(digest)

    @property
    def blobs(self) -> Path:
        """Return the folder of all blobs."""
        return self.root / "blobs" / "sha256"

    @property
    def refs(self) -> Path:
        """Return the folder of all references."""
        return self.root / "refs"

    @property
    def leases(self) -> Path:
        """Return the folder of leases."""
        return self.root / "leases"

    @property
    def partial(self) -> Path:
        """Return the folder of incomplete downloads."""
        return self.root / "partial"

    @property
    def tmp(self) -> Path:
        """Return the folder of files that are being written."""
        return self.root / "tmp"

    @property
    def lock(self) -> Path:
        """Return the path of the store's lock file."""
        return self.root / "lock"


def hex_of(digest: str) -> str:
    """Return the hex digits of ``sha256:<hex>``.

    Raises:
        IntegrityError: the digest is malformed, so it must not become a path.
    """
    algorithm, _, digits = digest.partition(":")
    is_hex = len(digits) == 64 and set(digits) <= set("0123456789abcdef")  # noqa: PLR2004
    if algorithm != "sha256" or not is_hex:
        raise IntegrityError(f"not a sha256 digest: {digest[:100]!r}")
    return digits


def is_digest(text: str) -> bool:
    """Return whether a text is ``sha256:<hex>``."""
    try:
        hex_of(text)
    except IntegrityError:
        return False
    return True


def check_version(layout: Layout) -> bool:
    """Return whether a store exists; False if nothing has been stored yet.

    Raises:
        StorageError: a later localrun created the store, or its marker is damaged.
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
            f"the store {layout.root} has format {version}; this localrun reads {FORMAT_VERSION}",
            hint="update localrun, or set LOCALRUN_MODELS to another folder",
        )
    return True


def create(layout: Layout) -> None:
    """Create the folders of a store; do nothing if it exists.

    Raises:
        StorageError: the folder cannot be written.
    """
    with storage_errors(layout.root):
        exists = check_version(layout)
        for folder in FOLDERS:
            (layout.root / folder).mkdir(parents=True, exist_ok=True)
        if not exists:
            (layout.root / "CACHEDIR.TAG").write_text(CACHEDIR_TAG)
            sync_folder(layout.blobs.parent)
            _write_marker(layout)


def write_durably(path: Path, content: bytes, temporary: Path) -> None:
    """Write a file so that its name exists only with the whole content."""
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace_file(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def discard_folder(folder: Path, temporary: Path) -> None:
    """Delete a folder atomically for other processes, so that none resumes half of it."""
    with contextlib.suppress(FileNotFoundError):
        folder.rename(temporary)
        shutil.rmtree(temporary)


def discard(path: Path) -> None:
    """Delete a file or folder in ``tmp``; do nothing if it is gone."""
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
    except FileNotFoundError:  # garbage collected: another process created the store first
        if not check_version(layout):
            raise


def _short(part: str) -> str:
    """Shorten a name that is too long for a file system; a hash keeps it unique."""
    if len(part) <= LONGEST_NAME:
        return part
    return f"{part[:128]}%{hashlib.sha256(part.encode()).hexdigest()}"
