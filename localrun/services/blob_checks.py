"""Checks of many blobs: every byte, or sizes only.

A blob that no model names has no stated size, so a quick check of one asks its GGUF header.
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

NAME = "all files"
GGUF_MAGIC = b"GGUF"
SMALL_BYTES = 1 << 20


def bad_hashes(
    workspace: Workspace,
    named: Mapping[str, int],
    unnamed: Mapping[str, int],
    report: ProgressReport,
) -> dict[str, BadBlob]:
    """Hash all blobs and return the bad ones by their digests."""
    everything = {**named, **unnamed}
    total, done = sum(everything.values()), 0
    report.begin(total, 1)

    def tell(count: int) -> None:
        nonlocal done
        done += count
        report.advance(NAME, done, total)

    found = verify(workspace.store, everything, on_bytes=tell)
    report.advance(NAME, total, total)
    bad = {blob.digest: blob for blob in found}
    swept = [one for one in unnamed if one in bad and bad[one].reason == "missing"]
    return {digest: blob for digest, blob in bad.items() if digest not in swept}


def bad_sizes(
    workspace: Workspace, named: Mapping[str, int], unnamed: Iterable[str], _report: ProgressReport
) -> dict[str, BadBlob]:
    """Compare sizes with manifests and headers, and return the bad blobs by their digests.

    Small files are hashed all the same, since a manifest says how large the others are, and
    so is what seems cut short: its digest may be that of a file which was cut before.
    """
    store = workspace.store
    large = {digest: size for digest, size in named.items() if size > SMALL_BYTES}
    suspects = [*named.keys() - large.keys()]
    suspects += [digest for digest in unnamed if _is_cut_gguf(store.layout.blob(digest))]
    found = [*verify(store, suspects), *compare_sizes(store, large)]
    return {blob.digest: blob for blob in found}


def _is_cut_gguf(path: Path) -> bool:
    """Return whether a file begins as GGUF and does not have all that its header announces."""
    try:
        with path.open("rb") as file:
            if file.read(len(GGUF_MAGIC)) != GGUF_MAGIC:
                return False
        read_whole(path)
    except FileNotFoundError:  # swept meanwhile
        return False
    except (IntegrityError, OSError):
        return True
    return False


def unnamed_sizes(workspace: Workspace, named: Container[str]) -> dict[str, int]:
    """Return the bytes of the blobs of our store that no chosen model names."""
    layout, sizes = workspace.store.layout, {}
    if check_version(layout):
        for digest in blob_digests(layout):
            if digest not in named:
                with contextlib.suppress(FileNotFoundError):
                    sizes[digest] = layout.blob(digest).stat().st_size
    return sizes
