"""References: a name, and the digest of the manifest that it points at.

    {"format_version": 1, "name": "qwen3:0.6b", "manifest": "sha256:<hex>",
     "origin": "hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0", "choice": "Q8_0",
     "revision": "<commit>", "updated": "2026-11-21T07:00:00+00:00"}

A reference is written after everything that it names is complete, and replaced by one rename.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from localrun.disk import storage_error, storage_errors
from localrun.errors import IntegrityError, ModelNameError
from localrun.names.parse import parse_name
from localrun.names.ref import ModelRef
from localrun.store.layout import FORMAT_VERSION, hex_of, write_durably
from localrun.store.locks import locked
from localrun.store.stamp import Stamp, status_stamp
from localrun.system.files import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.store.layout import Layout
    from localrun.store.locks import Lease

PLAIN_HTTP = "http"
KEY_PARTS = 4
MAX_TRIES = 100
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRef:
    """One reference of the store."""

    name: str
    manifest: str  # digest
    updated: str  # ISO 8601 with time zone
    origin: str | None = None  # the name it was pulled from, None if created here
    choice: str | None = None  # the quantization chosen for a name without one
    revision: str | None = None  # of the origin at the time of the pull
    base: str | None = None  # the base of a model created here; it cannot be pulled
    scheme: str | None = None  # "http": the user allowed its registry without TLS

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Parse a reference file.

        Raises:
            IntegrityError: the file is malformed, or of a later localrun.
        """
        try:
            value = json.loads(content)
            version = value.pop("format_version")
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise IntegrityError(f"not a reference: {error!r}") from error
        if version != FORMAT_VERSION:
            raise IntegrityError(f"a reference of format {version!r}", hint="update localrun")
        try:
            ref = cls(**value)
            _ = hex_of(ref.manifest), ref.parsed.key
        except (ValueError, TypeError, AttributeError, ModelNameError) as error:
            raise IntegrityError(f"not a reference: {error}") from error
        if not all(isinstance(text, str) for text in value.values()):
            raise IntegrityError("not a reference: every field must be a text")
        return ref

    @property
    def parsed(self) -> ModelRef:
        """Return the parsed name."""
        return parse_name(self.name)

    @property
    def is_plain_http(self) -> bool:
        """Return whether the user allowed the registry of this name without TLS."""
        return self.scheme == PLAIN_HTTP

    def to_json(self) -> bytes:
        """Return the content of the reference file."""
        fields = {key: value for key, value in asdict(self).items() if value is not None}
        text = json.dumps({"format_version": FORMAT_VERSION, **fields}, sort_keys=True, indent=1)
        return text.encode() + b"\n"


@dataclass(frozen=True, slots=True)
class StampedRef:
    """File of a reference as it is, not read yet."""

    path: str
    key: str  # the path below the folder of references: the same in each store
    stamp: Stamp


def read_ref(layout: Layout, ref: ModelRef) -> StoredRef | None:
    """Return the reference of a name, or None if the store lacks it.

    Raises:
        IntegrityError: the reference file is damaged.
    """
    path = layout.ref(ref.key)
    try:
        with storage_errors(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return load_ref(layout, path)
    except IntegrityError as error:
        raise IntegrityError(
            f"damaged: {path}: {error.message}", hint=error.hint or f"localrun pull {ref}"
        ) from error
    return None


def write_ref(layout: Layout, ref: ModelRef, stored: StoredRef, lease: Lease) -> None:
    """Point a name at a manifest whose blobs are all complete."""
    path = layout.ref(ref.key)
    with storage_errors(path):
        for retries_left in reversed(range(MAX_TRIES)):
            try:
                with locked(layout.lock, shared=True):  # garbage collection removes empty folders
                    _make_folders(layout, path.parent)
                    write_durably(path, stored.to_json(), lease.temporary())
            except (
                FileNotFoundError,
                FileExistsError,
            ):  # the last name in the folder was just removed
                if not retries_left:
                    raise
            else:
                return


def remove_ref(layout: Layout, ref: ModelRef) -> bool:
    """Delete a name, and return whether it existed; its blobs stay for garbage collection."""
    path = layout.ref(ref.key)
    with storage_errors(path):
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        with contextlib.suppress(FileNotFoundError):  # another process removed the folder too
            sync_folder(path.parent)  # else a power loss could restore the name without its blobs
        for folder in list(path.parents)[: KEY_PARTS - 1]:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
    return True


def load_ref(layout: Layout, path: Path) -> StoredRef:
    """Read a reference file.

    Raises:
        IntegrityError: the file is damaged, or holds another name.
    """
    stored = StoredRef.from_json(path.read_bytes())
    if layout.ref(stored.parsed.key) != path:
        if _has_secret_name(stored) and layout.ref(ModelRef(location=stored.name).key) == path:
            return _without_secrets(layout, path, stored)
        raise IntegrityError(f"the reference of another name, {stored.name!r}")
    return stored


def remove_empty_folders(layout: Layout) -> None:
    """Delete the empty folders of names.

    A process that writes a name meanwhile creates them again.
    """
    for folder, _, _ in os.walk(layout.refs, topdown=False):
        if Path(folder) != layout.refs:
            with contextlib.suppress(OSError):  # not empty
                os.rmdir(folder)  # noqa: PTH106 - os.walk has texts


def list_refs(layout: Layout) -> list[StoredRef]:
    """Return all references by name; log a warning for damaged ones and leave them out."""
    refs = []
    for path in ref_files(layout):
        try:
            refs.append(load_ref(layout, path))
        except (IntegrityError, OSError) as error:
            _log.warning("left out: %s: %s", path, error)
    return sorted(refs, key=lambda ref: ref.name)


def ref_files(layout: Layout) -> Iterator[Path]:
    """Yield the files of all references; hidden files belong to a file system or a desktop.

    Unlike a glob, it never skips an unreadable folder: garbage collection relies on that.

    Raises:
        StorageError: a folder cannot be read.
    """
    for entry in _files_below(str(layout.refs), KEY_PARTS):
        yield Path(entry.path)


def stamped_refs(layout: Layout) -> Iterator[StampedRef]:
    """Yield the files of all references with their stamps, without reading them.

    Raises:
        StorageError: a folder cannot be read.
    """
    folder = str(layout.refs)
    for entry in _files_below(folder, KEY_PARTS):
        with contextlib.suppress(OSError):  # removed meanwhile
            yield StampedRef(entry.path, entry.path[len(folder) + 1 :], status_stamp(entry.stat()))


def _has_secret_name(stored: StoredRef) -> bool:
    """Return whether a name holds a login or a signature, as earlier versions stored it."""
    return stored.parsed.full_address is not None


def _without_secrets(layout: Layout, path: Path, stored: StoredRef) -> StoredRef:
    """Rename a reference to the name without secrets; in a read-only store, only return it."""
    origin = None if stored.origin is None else str(parse_name(stored.origin))
    clean = replace(stored, name=str(stored.parsed), origin=origin)
    target = layout.ref(clean.parsed.key)
    with contextlib.suppress(OSError):
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            write_durably(target, clean.to_json(), target.with_name(f".{os.getpid()}"))
        path.unlink()
        path.parent.rmdir()
    return clean


def _files_below(folder: str, depth: int) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):  # removed meanwhile
        return
    except OSError as error:
        raise storage_error(error, Path(folder)) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if depth > 1:
            yield from _files_below(entry.path, depth - 1)
        elif entry.is_file():
            yield entry


def _make_folders(layout: Layout, folder: Path) -> None:
    """Create the folders of a reference durably, parents first."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for part in reversed(missing):
        if part.is_relative_to(layout.root):
            sync_folder(part.parent)
