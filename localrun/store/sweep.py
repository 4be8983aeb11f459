"""What no name needs any more, found and deleted; and what everything takes on the disk.

Needed are the manifests of all refs, what they name, and what leases of living
processes name. If a ref or a manifest cannot be read, nothing is deleted: what it
needs is not known.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError
from localrun.store.layout import check_version, translated
from localrun.store.locks import living_leases, locked
from localrun.store.refs import StoredRef, ref_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from localrun.store.layout import Layout
    from localrun.store.store import Store

PARTIAL_KEPT_S = 7 * 24 * 3600.0  # a download that was interrupted, since it last grew
LOCK_FILE = "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What was deleted, or would be."""

    blobs: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    freed_bytes: int = 0


def sweep(
    store: Store,
    *,
    only: Iterable[str] | None = None,
    partial_kept_s: float = PARTIAL_KEPT_S,
    is_dry: bool = False,
) -> Swept:
    """Delete what no name needs; blocks while another process begins a lease.

    ``only`` limits the sweep to these digests, as after a model's removal.

    Raises:
        IntegrityError: a ref or a manifest is damaged; nothing is deleted.
    """
    layout = store.layout
    if not check_version(layout):
        return Swept()
    with translated(layout.root), locked(layout.lock):
        leases = living_leases(layout)
        needed = needed_digests(store).union(*leases.values())
        candidates = (path.name for path in layout.blobs.iterdir()) if only is None else only
        doomed = [digest for digest in map(_digest, candidates) if digest not in needed]
        freed = sum(_remove(store, digest, is_dry=is_dry) for digest in doomed)
        if only is not None:
            return Swept(blobs=tuple(doomed), freed_bytes=freed)
        _empty_tmp(layout, set(leases), is_dry=is_dry)
        partial = _old_partial(layout, partial_kept_s)
        freed += sum(folder_bytes(folder) for folder in partial)
        if not is_dry:
            for folder in partial:
                shutil.rmtree(folder)
    return Swept(
        blobs=tuple(doomed), partial=tuple(path.name for path in partial), freed_bytes=freed
    )


def needed_digests(store: Store) -> set[str]:
    """Return the digests of every manifest that a ref names, and of what those name.

    Raises:
        IntegrityError: a ref or a manifest cannot be read.
    """
    needed: set[str] = set()
    for path in ref_files(store.layout):
        with contextlib.suppress(FileNotFoundError):
            try:
                digest = StoredRef.from_json(path.read_bytes()).manifest
            except IntegrityError as error:
                raise IntegrityError(f"damaged: {path}", hint=f"delete {path}") from error
            if digest not in needed:
                needed |= {digest, *(blob.digest for blob in store.manifest(digest).blobs)}
    return needed


def folder_bytes(folder: Path) -> int:
    """Return the bytes on the disk of a folder's files; holes take none."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.lstat().st_blocks * 512
    return total


def _remove(store: Store, digest: str, *, is_dry: bool) -> int:
    if not is_dry:
        return store.blobs.remove(digest)
    with contextlib.suppress(FileNotFoundError):
        return store.layout.blob(digest).stat().st_size
    return 0


def _empty_tmp(layout: Layout, leases: set[str], *, is_dry: bool) -> None:
    """Delete what processes that are gone were writing."""
    for path in layout.tmp.iterdir():
        if path.name.partition("-")[0] not in leases and not is_dry:
            path.unlink(missing_ok=True)


def _old_partial(layout: Layout, kept_s: float) -> list[Path]:
    """Return the downloads that nobody goes on with."""
    newest = time.time() - kept_s
    return [
        folder
        for folder in layout.partial.iterdir()
        if _last_change(folder) <= newest and not _is_locked(folder / LOCK_FILE)
    ]


def _last_change(folder: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return max([folder.stat().st_mtime, *(path.stat().st_mtime for path in folder.iterdir())])
    return 0.0


def _is_locked(path: Path) -> bool:
    from localrun.store.locks import try_lock

    with contextlib.suppress(FileNotFoundError), path.open() as file:
        return not try_lock(file.fileno())
    return False


def _digest(name: str) -> str:
    return name if name.startswith("sha256:") else f"sha256:{name}"
