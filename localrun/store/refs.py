"""Refs: a name, and the digest of the manifest that it means now.

    {"format_version": 1, "name": "qwen3:0.6b", "manifest": "sha256:<hex>",
     "origin": "hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0", "choice": "Q8_0",
     "revision": "<commit>", "updated": "2026-11-21T07:00:00+00:00"}

A ref is written after everything that it names is complete, and replaced in one rename.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from localrun.disk import storage_errors
from localrun.errors import IntegrityError, ModelNameError
from localrun.names.parse import parse_name
from localrun.names.ref import ModelRef
from localrun.store.layout import FORMAT_VERSION, fsync_folder, hex_of, write_durably
from localrun.store.locks import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.store.layout import Layout
    from localrun.store.locks import Lease

PLAIN_HTTP = "http"
KEY_PARTS = 4
MOST_TRIES = 100
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRef:
    """One name of the store."""

    name: str
    manifest: str  # digest
    updated: str  # ISO 8601 with time zone
    origin: str | None = None  # the name it was pulled from, None for one made here
    choice: str | None = None  # the quantization that was chosen for a name without one
    revision: str | None = None  # of the origin, when it was pulled
    base: str | None = None  # the model that one made here began from; nothing to pull it from
    scheme: str | None = None  # "http": its registry was spoken to so, as the user allowed

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read a ref's file.

        Raises:
            IntegrityError: it is none, or a later localrun's.
        """
        try:
            value = json.loads(content)
            version = value.pop("format_version")
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise IntegrityError(f"not a ref: {error!r}") from error
        if version != FORMAT_VERSION:
            raise IntegrityError(f"a ref of format {version!r}", hint="update localrun")
        try:
            ref = cls(**value)
            _ = hex_of(ref.manifest), ref.parsed.key
        except (ValueError, TypeError, AttributeError, ModelNameError) as error:
            raise IntegrityError(f"not a ref: {error}") from error
        if not all(isinstance(text, str) for text in value.values()):
            raise IntegrityError("not a ref: every field is a text")
        return ref

    @property
    def parsed(self) -> ModelRef:
        """Return the parts of the name."""
        return parse_name(self.name)

    @property
    def is_plain_http(self) -> bool:
        """Return whether the user allowed the registry of this name without TLS."""
        return self.scheme == PLAIN_HTTP

    def to_json(self) -> bytes:
        """Return the ref's file."""
        fields = {key: value for key, value in asdict(self).items() if value is not None}
        text = json.dumps({"format_version": FORMAT_VERSION, **fields}, sort_keys=True, indent=1)
        return text.encode() + b"\n"


def read_ref(layout: Layout, ref: ModelRef) -> StoredRef | None:
    """Return what a name means in a store, None when it is not there.

    Raises:
        IntegrityError: the ref's file is damaged.
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
    """Let a name mean a manifest whose blobs are all complete."""
    path = layout.ref(ref.key)
    with storage_errors(path):
        for left in reversed(range(MOST_TRIES)):
            try:
                with locked(layout.lock, shared=True):  # a sweep removes empty folders
                    _make_folders(layout, path.parent)
                    write_durably(path, stored.to_json(), lease.temporary())
            except (FileNotFoundError, FileExistsError):  # the last name in it was removed just now
                if not left:
                    raise
            else:
                return


def remove_ref(layout: Layout, ref: ModelRef) -> bool:
    """Delete a name; return whether it was there. Its blobs stay for a sweep."""
    path = layout.ref(ref.key)
    with storage_errors(path):
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        with contextlib.suppress(FileNotFoundError):  # another removed the folder too
            fsync_folder(path.parent)  # else the name could come back without its blobs
        for folder in list(path.parents)[: KEY_PARTS - 1]:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
    return True


def load_ref(layout: Layout, path: Path) -> StoredRef:
    """Return the ref of a file.

    Raises:
        IntegrityError: it is damaged, or that of another name.
    """
    stored = StoredRef.from_json(path.read_bytes())
    if layout.ref(stored.parsed.key) != path:
        if _has_secret_name(stored) and layout.ref(ModelRef(location=stored.name).key) == path:
            return _without_secrets(layout, path, stored)
        raise IntegrityError(f"the ref of another name, {stored.name!r}")
    return stored


def remove_empty_folders(layout: Layout) -> None:
    """Delete the folders that a killed process made for a name, or left of one.

    Whoever writes a name just now makes them again.
    """
    for folder, _, _ in os.walk(layout.refs, topdown=False):
        if Path(folder) != layout.refs:
            with contextlib.suppress(OSError):  # not empty
                os.rmdir(folder)  # noqa: PTH106 - os.walk has texts


def list_refs(layout: Layout) -> list[StoredRef]:
    """Return all refs of a store by name; damaged ones are left out with a warning."""
    refs = []
    for path in ref_files(layout):
        try:
            refs.append(load_ref(layout, path))
        except (IntegrityError, OSError) as error:
            _log.warning("left out: %s: %s", path, error)
    return sorted(refs, key=lambda ref: ref.name)


def ref_files(layout: Layout) -> Iterator[Path]:
    """Yield the files of all refs; hidden ones are a file system's or a desktop's.

    Unlike a glob it never skips a folder that it cannot read: a sweep relies on it.

    Raises:
        StorageError: a folder cannot be read.
    """
    yield from _files_below(layout.refs, KEY_PARTS)


def _has_secret_name(stored: StoredRef) -> bool:
    """Return whether a name has a login or a signature, as those of earlier versions had."""
    return stored.parsed.full_address is not None


def _without_secrets(layout: Layout, path: Path, stored: StoredRef) -> StoredRef:
    """Move a ref to the name without its secrets; in a store that is only read, it is told so."""
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


def _files_below(folder: Path, depth: int) -> Iterator[Path]:
    with storage_errors(folder):
        try:
            found = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):  # removed meanwhile
            return
    for entry in found:
        if entry.name.startswith("."):
            continue
        if depth > 1:
            yield from _files_below(Path(entry.path), depth - 1)
        elif entry.is_file():
            yield Path(entry.path)


def _make_folders(layout: Layout, folder: Path) -> None:
    """Make the folders of a ref durable, each before the one inside it."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for part in reversed(missing):
        if part.is_relative_to(layout.root):
            fsync_folder(part.parent)
