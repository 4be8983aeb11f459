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
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from localrun.errors import IntegrityError
from localrun.names.parse import parse_name
from localrun.store.layout import FORMAT_VERSION, hex_of, translated, write_durably

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.names.ref import ModelRef
    from localrun.store.layout import Layout
    from localrun.store.locks import Lease

KEY_PARTS = 4
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

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read a ref's file.

        Raises:
            IntegrityError: it is none, or a later localrun's.
        """
        try:
            value = json.loads(content)
            version = value.pop("format_version")
            ref = cls(**value)
            hex_of(ref.manifest)
            parse_name(ref.name)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise IntegrityError(f"not a ref: {error}") from error
        if version != FORMAT_VERSION:
            raise IntegrityError(f"a ref of format {version}", hint="update localrun")
        return ref

    def to_json(self) -> bytes:
        """Return the ref's file."""
        fields = {key: value for key, value in asdict(self).items() if value is not None}
        return json.dumps({"format_version": FORMAT_VERSION, **fields}, indent=1).encode() + b"\n"


def read_ref(layout: Layout, ref: ModelRef) -> StoredRef | None:
    """Return what a name means in a store, None when it is not there.

    Raises:
        IntegrityError: the ref's file is damaged.
    """
    path = layout.ref(ref.key)
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return StoredRef.from_json(content)
    except IntegrityError as error:
        raise IntegrityError(
            f"damaged: {path}: {error.message}", hint=f"localrun pull {ref}"
        ) from error


def write_ref(layout: Layout, ref: ModelRef, stored: StoredRef, lease: Lease) -> None:
    """Let a name mean a manifest whose blobs are all complete."""
    path = layout.ref(ref.key)
    with translated(path):
        _make_folders(layout, path.parent)
        write_durably(path, stored.to_json(), lease.temporary())


def remove_ref(layout: Layout, ref: ModelRef) -> bool:
    """Delete a name; tell whether it was there. Its blobs stay for a sweep."""
    path = layout.ref(ref.key)
    with translated(path):
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        for folder in list(path.parents)[: KEY_PARTS - 1]:
            with contextlib.suppress(OSError):  # not empty, or a pull uses it right now
                folder.rmdir()
    return True


def list_refs(layout: Layout) -> list[StoredRef]:
    """Return all refs of a store by name; damaged ones are left out with a warning."""
    refs = []
    for path in ref_files(layout):
        try:
            refs.append(StoredRef.from_json(path.read_bytes()))
        except (IntegrityError, OSError) as error:
            _log.warning("left out: %s: %s", path, error)
    return sorted(refs, key=lambda ref: ref.name)


def ref_files(layout: Layout) -> Iterator[Path]:
    """Yield the files of all refs."""
    for path in layout.refs.glob("/".join("*" * KEY_PARTS)):
        if path.is_file():
            yield path


def _make_folders(layout: Layout, folder: Path) -> None:
    """Make the folders of a ref durable, each before the one inside it."""
    from localrun.store.layout import fsync_folder

    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for part in reversed(missing):
        if part.is_relative_to(layout.root):
            fsync_folder(part.parent)
