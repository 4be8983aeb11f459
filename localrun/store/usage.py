"""Disk usage of a store: by model, and unused.

    Usage(models=[ModelUsage(name="qwen3:0.6b", total_bytes=700, own_bytes=100, ...)],
          total_bytes=900, unused_bytes=200, partial_bytes=50, linked_bytes=600)

Counts the files in our folder; read-only stores take none of our disk. Reads without a lock, so
the result is a snapshot.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.disk import storage_errors
from localrun.store.garbage import blob_digests, folder_bytes
from localrun.store.layout import check_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.store.store import Entry, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage:
    """Disk usage of one name."""

    name: str
    total_bytes: int
    own_bytes: int  # of blobs that no other name needs: freed by a removal
    shared_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUsage:
    """Disk usage of a store."""

    models: list[ModelUsage]
    total_bytes: int  # of all blobs
    unused_bytes: int  # of blobs that no readable name needs
    partial_bytes: int  # of incomplete downloads
    linked_bytes: int  # part of the total that is shared with another tool's files


def usage(store: Store) -> StoreUsage:
    """Return the disk usage of our store.

    Raises:
        StorageError: the folder cannot be read.
    """
    if not check_version(store.layout):
        return StoreUsage(models=[], total_bytes=0, unused_bytes=0, partial_bytes=0, linked_bytes=0)
    with storage_errors(store.layout.root):
        sizes = _sizes(store)
        linked = sum(size for digest, size in sizes.items() if _is_linked(store, digest))
        partial = folder_bytes(store.layout.partial)
    entries = [entry for entry in store.entries() if entry.is_own]
    users = Counter(digest for entry in entries for digest in _needs(entry))
    return StoreUsage(
        models=[_model(entry, sizes, users) for entry in entries],
        total_bytes=sum(sizes.values()),
        unused_bytes=sum(size for digest, size in sizes.items() if digest not in users),
        partial_bytes=partial,
        linked_bytes=linked,
    )


def _sizes(store: Store) -> dict[str, int]:
    sizes = {}
    for digest in blob_digests(store.layout):
        with contextlib.suppress(FileNotFoundError):  # garbage collected meanwhile
            sizes[digest] = store.layout.blob(digest).stat().st_size
    return sizes


def _is_linked(store: Store, digest: str) -> bool:
    """Return whether another tool still has the file."""
    with contextlib.suppress(FileNotFoundError):
        is_shared = store.layout.blob(digest).stat().st_nlink > 1
        return is_shared and store.blobs.link_of(digest) is not None
    return False


def _needs(entry: Entry) -> set[str]:
    return {entry.ref.manifest, *(blob.digest for blob in entry.manifest.blobs)}


def _model(entry: Entry, sizes: Mapping[str, int], users: Mapping[str, int]) -> ModelUsage:
    needs = _needs(entry)
    total = sum(sizes.get(digest, 0) for digest in needs)
    own = sum(sizes.get(digest, 0) for digest in needs if users[digest] == 1)
    return ModelUsage(
        name=entry.ref.name, total_bytes=total, own_bytes=own, shared_bytes=total - own
    )
