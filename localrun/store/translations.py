"""Records of translations: which blobs were made here of a published file.

    translations/<hex of the published file>
      {"format_version": 1, "rules": "gptoss gpt-oss 1", "size_bytes": 13793437824, "facts": {...},
       "files": [{"role": "weights", "digest": "sha256:<hex>", "size_bytes": 13780000000}]}

A record is written by the process that made the blobs, and by no download or archive, so it can be
trusted as much as they. A file whose record names blobs that are all here is not fetched again.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from localrun.disk import storage_errors
from localrun.errors import IntegrityError
from localrun.store.layout import FORMAT_VERSION, hex_of, write_durably
from localrun.store.manifest import Role

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from localrun.store.layout import Layout
    from localrun.store.locks import Lease
    from localrun.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatedFile:
    """Blob that a translation made."""

    role: Role
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationRecord:
    """Blobs that were made of a published file."""

    published: str  # digest
    size_bytes: int  # of the published file
    rules: str  # their label
    files: tuple[TranslatedFile, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)  # of the published file, for a config

    def to_json(self) -> bytes:
        """Return the content of the record."""
        files = [
            {"role": file.role.value, "digest": file.digest, "size_bytes": file.size_bytes}
            for file in self.files
        ]
        known = {"rules": self.rules, "size_bytes": self.size_bytes, "facts": dict(self.facts)}
        value = {"format_version": FORMAT_VERSION, **known, "files": files}
        return json.dumps(value, sort_keys=True, indent=1).encode() + b"\n"

    @classmethod
    def from_json(cls, published: str, content: bytes) -> Self:
        """Parse a record.

        Raises:
            ValueError, KeyError, TypeError, IntegrityError: the record is damaged.
        """
        value = json.loads(content)
        files = tuple(
            TranslatedFile(
                role=Role(file["role"]), digest=file["digest"], size_bytes=int(file["size_bytes"])
            )
            for file in value["files"]
        )
        for file in files:
            hex_of(file.digest)
        if value["format_version"] != FORMAT_VERSION or not files:
            raise ValueError("a record of another format")
        return cls(
            published=published,
            size_bytes=int(value["size_bytes"]),
            rules=str(value["rules"]),
            files=files,
            facts=dict(value["facts"]),
        )


def find_translation(
    store: Store, published: str, lease: Lease | None = None
) -> TranslationRecord | None:
    """Return the record of a published file if its blobs are here.

    With a lease they are leased first; without one they may be collected meanwhile.
    """
    records = (_read(layout, published) for layout in store.layouts)
    record = next((found for found in records if found is not None), None)
    if record is None:
        return None
    if lease is not None:
        lease.add(file.digest for file in record.files)
    is_here = all(store.blobs.find(file.digest, file.size_bytes) for file in record.files)
    return record if is_here else None


def record_translation(store: Store, record: TranslationRecord, lease: Lease) -> None:
    """Keep a record; its blobs are in the store."""
    path = _path(store.layout, record.published)
    with storage_errors(path):
        path.parent.mkdir(exist_ok=True)
        write_durably(path, record.to_json(), lease.temporary())


def remove_stale_records(layout: Layout) -> None:
    """Delete the records whose blobs are gone; the caller holds the store's lock."""
    folder = layout.root / "translations"
    with storage_errors(folder), contextlib.suppress(FileNotFoundError):
        for path in list(folder.iterdir()):
            record = _read(layout, f"sha256:{path.name}")
            if record is None or not all(layout.blob(f.digest).is_file() for f in record.files):
                path.unlink(missing_ok=True)


def _path(layout: Layout, published: str) -> Path:
    return layout.root / "translations" / hex_of(published)


def _read(layout: Layout, published: str) -> TranslationRecord | None:
    """Return a record, or None if it is missing or damaged: then the file is fetched again."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IntegrityError):
        content = _path(layout, published).read_bytes()
        return TranslationRecord.from_json(published, content)
    return None
