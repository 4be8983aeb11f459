"""Checks of many blobs: every byte, or sizes only.

A blob that no model names has no stated size, so a quick check reads its GGUF header instead.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError
from localrun.gguf.data import read_whole
from localrun.store.garbage import blob_digests
from localrun.store.layout import check_version
from localrun.store.verify import BadBlob, compare_sizes, verify

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from pathlib import Path

    from localrun.services.progress import ProgressReport
    from localrun.services.workspace import Workspace

LABEL = "all files"
GGUF_MAGIC = b"GGUF"
SMALL_BYTES = 1 << 20


def bad_hashes(
    workspace: Workspace,
    named: Mapping[str, int],
    unnamed: Mapping[str, int],
    report: ProgressReport,
) -> dict[str, BadBlob]:
    """Hash all blobs, and return the bad ones by digest."""
    everything = {**named, **unnamed}
    total, done = sum(everything.values()), 0
    report.begin(total, 1)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        report.advance(LABEL, done, total)

    bad_blobs = verify(workspace.store, everything, on_bytes=advance)
    report.advance(LABEL, total, total)
    bad = {blob.digest: blob for blob in bad_blobs}
    collected = {digest for digest in unnamed if digest in bad and bad[digest].reason == "missing"}
    return {digest: blob for digest, blob in bad.items() if digest not in collected}


def bad_sizes(
    workspace: Workspace, named: Mapping[str, int], unnamed: Iterable[str], _report: ProgressReport
) -> dict[str, BadBlob]:
    """Compare sizes with manifests and headers, and return the bad blobs by digest.

    Small files are hashed even so, because their manifest states the sizes of the others. A
    truncated GGUF file is hashed too: its digest may be that of a file that was truncated before.
    """
    store = workspace.store
    large = {digest: size for digest, size in named.items() if size > SMALL_BYTES}
    suspects = [*named.keys() - large.keys()]
    suspects += [digest for digest in unnamed if _is_cut_gguf(store.layout.blob(digest))]
    bad_blobs = [*verify(store, suspects), *compare_sizes(store, large)]
    return {blob.digest: blob for blob in bad_blobs}


def _is_cut_gguf(path: Path) -> bool:
    """Return whether a file is GGUF and shorter than its header announces."""
    try:
        with path.open("rb") as file:
            if file.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
                return False
        read_whole(path)
    except FileNotFoundError:  # garbage collected meanwhile
        return False
    except (IntegrityError, OSError):
        return True
    return False


def unnamed_sizes(workspace: Workspace, named: Container[str]) -> dict[str, int]:
    """Return the sizes of our store's blobs that no chosen model names, by digest."""
    layout, sizes = workspace.store.layout, {}
    if check_version(layout):
        for digest in blob_digests(layout):
            if digest not in named:
                with contextlib.suppress(FileNotFoundError):
                    sizes[digest] = layout.blob(digest).stat().st_size
    return sizes
