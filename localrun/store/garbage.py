"""Garbage collection of a store: deletes blobs that no reference and no lease needs.

Needed are the manifests of all references, the blobs they name, and the digests in leases of
living processes. If a reference or a manifest cannot be read, nothing is deleted, because its
blobs are unknown.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.disk import storage_errors
from localrun.errors import IntegrityError
from localrun.store.layout import check_version, discard, discard_folder
from localrun.store.locks import living_leases, locked, try_lock
from localrun.store.refs import StoredRef, ref_files, remove_empty_folders
from localrun.store.translations import remove_stale_records
from localrun.system.files import bytes_on_disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from localrun.store.layout import Layout
    from localrun.store.store import Store

PARTIAL_KEPT_S = 7 * 24 * 3600.0  # since an interrupted download last grew
LOCK_FILE = "lock"
BLOB = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedGarbage:
    """Blobs and partial downloads that were deleted, or would be."""

    blobs: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    freed_bytes: int = 0


def collect_garbage(
    store: Store,
    *,
    only: Iterable[str] | None = None,
    partial_kept_s: float = PARTIAL_KEPT_S,
    is_dry: bool = False,
) -> CollectedGarbage:
    """Delete unreferenced blobs; other processes wait to begin a lease meanwhile.

    ``only`` limits the collection to these digests, as after the removal of a model.

    Raises:
        IntegrityError: a reference or a manifest is damaged; nothing is deleted.
    """
    layout = store.layout
    if not check_version(layout):
        return CollectedGarbage()
    with storage_errors(layout.root), locked(layout.lock):
        leases = living_leases(layout)
        referenced = referenced_digests(store).union(*leases.values())
        candidates = blob_digests(layout) if only is None else only
        unreferenced = [
            digest
            for digest in candidates
            if digest not in referenced and layout.blob(digest).is_file()
        ]
        freed = sum(_remove(store, digest, is_dry=is_dry) for digest in unreferenced)
        if only is not None:
            return CollectedGarbage(blobs=tuple(unreferenced), freed_bytes=freed)
        partial = _useless_partial(layout, partial_kept_s)
        freed += sum(folder_bytes(folder) for folder in partial)
        if not is_dry:
            _tidy(store, leases)
            for folder in partial:
                _discard_partial(layout, folder)
    return CollectedGarbage(
        blobs=tuple(unreferenced), partial=tuple(path.name for path in partial), freed_bytes=freed
    )


def blob_digests(layout: Layout) -> list[str]:
    """Return the digests of all blobs; files with other names are not blobs."""
    return [f"sha256:{path.name}" for path in layout.blobs.iterdir() if BLOB.fullmatch(path.name)]


def referenced_digests(store: Store) -> set[str]:
    """Return the digests of all manifests that references name, and of their blobs.

    Raises:
        IntegrityError: a reference or a manifest cannot be read.
    """
    referenced: set[str] = set()
    for path in ref_files(store.layout):
        with contextlib.suppress(FileNotFoundError):
            digest = _manifest_of(path)
            if digest not in referenced:
                referenced |= {digest, *_named_by(store, digest, path)}
    return referenced


def folder_bytes(folder: Path) -> int:
    """Return the bytes on disk of a folder's files; holes take none."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += bytes_on_disk(os.lstat(os.path.join(parent, name)))  # noqa: PTH118 - fast
    return total


def _manifest_of(path: Path) -> str:
    try:
        return StoredRef.from_json(path.read_bytes()).manifest
    except IntegrityError as error:
        raise IntegrityError(
            f"damaged: {path}: {error.message}", hint=error.hint or f"delete {path}"
        ) from error


def _named_by(store: Store, digest: str, ref: Path) -> set[str]:
    try:
        return {blob.digest for blob in store.manifest(digest).blobs}
    except IntegrityError as error:
        raise IntegrityError(
            f"cannot read the manifest of {ref}: {error.message}", hint="localrun verify --repair"
        ) from error


def _remove(store: Store, digest: str, *, is_dry: bool) -> int:
    return store.blobs.own_bytes(digest) if is_dry else store.blobs.remove(digest)


def _tidy(store: Store, leases: Mapping[str, set[str]]) -> None:
    """Delete temporary files of dead processes, stale records and empty folders."""
    layout = store.layout
    for path in layout.tmp.iterdir():
        if path.name.partition("-")[0] not in leases:
            discard(path)
    leased = set().union(*leases.values())
    for path in (layout.root / "links").iterdir():
        digest = f"sha256:{path.name}"
        if (
            BLOB.fullmatch(path.name) and digest not in leased
        ):  # else the record was written before its blob
            store.blobs.remove_stale_link(digest)
    remove_stale_records(layout)
    remove_empty_folders(layout)


def _useless_partial(layout: Layout, kept_s: float) -> list[Path]:
    """Return the downloads that nobody will resume: too old, empty, or complete."""
    newest = time.time() - kept_s
    return [
        folder
        for folder in layout.partial.iterdir()
        if folder.is_dir() and _is_useless(layout, folder, newest) and not _is_locked(folder)
    ]


def _is_useless(layout: Layout, folder: Path, newest: float) -> bool:
    has_bytes = (folder / "data").exists() and not (layout.blobs / folder.name).exists()
    return not has_bytes or _last_change(folder) <= newest


def _last_change(folder: Path) -> float:
    last = 0.0
    for path in (folder, folder / "data", folder / "journal"):
        with contextlib.suppress(FileNotFoundError):  # the journal was replaced just now
            last = max(last, path.stat().st_mtime)
    return last


def _is_locked(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError), (folder / LOCK_FILE).open() as file:
        return not try_lock(file.fileno())
    return False


def _discard_partial(layout: Layout, folder: Path) -> None:
    """Delete a download unless a process has resumed it meanwhile."""
    with contextlib.suppress(FileNotFoundError), (folder / LOCK_FILE).open("a") as file:
        if not try_lock(file.fileno()):
            return
        if sys.platform != "win32":  # where a folder with an open file keeps its name
            discard_folder(folder, layout.tmp / f"partial-{uuid.uuid4().hex}")
            return
    discard_folder(folder, layout.tmp / f"partial-{uuid.uuid4().hex}")
