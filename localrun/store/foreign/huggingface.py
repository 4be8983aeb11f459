"""GGUF models of a Hugging Face cache.

    models--owner--repo/refs/main                             a commit
    models--owner--repo/snapshots/<commit>/model-Q8_0.gguf    a link into blobs
    models--owner--repo/blobs/<sha256>                        the file

One snapshot of a repository is read: that of ``main``, else the newest, else the next that has a
complete model. In caches without links (Windows), the files are in the snapshot and have no
digest.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.store.foreign.reading import (
    files_below,
    list_folder,
    look_at,
    newest_folders,
    read_text,
)
from localrun.store.foreign.sets import is_gguf_name, is_projector_name, models_of_repository

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.store.foreign.model import ForeignFile, ForeignModel

TOOL = "huggingface"
PREFIX = "models--"
REPOSITORY = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)?[A-Za-z0-9_][A-Za-z0-9_.-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")

_log = logging.getLogger(__name__)


def find_huggingface_models(hub_cache: Path, *, tool: str = TOOL) -> list[ForeignModel]:
    """Return the models below ``hub_cache``, one for each quantization of a repository.

    ``tool`` is the tool reported for the models: llama.cpp has such caches too.
    """
    models: list[ForeignModel] = []
    for folder in list_folder(hub_cache):
        if not folder.name.startswith(PREFIX):
            continue
        repository = folder.name.removeprefix(PREFIX).replace("--", "/")
        if REPOSITORY.fullmatch(repository):
            models += _models(folder, repository, tool)
        else:
            _log.debug("skipped %s: not the name of a repository", folder)
    return models


def _models(folder: Path, repository: str, tool: str) -> list[ForeignModel]:
    for snapshot in _snapshots(folder):
        models = models_of_repository(
            _files(snapshot), tool=tool, repository=repository, revision=snapshot.name
        )
        if models:
            return models
    return []


def _snapshots(folder: Path) -> list[Path]:
    """Return the snapshots, main's first, then from new to old."""
    main = (read_text(folder / "refs" / "main") or "").strip()
    return sorted(newest_folders(folder / "snapshots"), key=lambda path: path.name != main)


def _files(snapshot: Path) -> list[ForeignFile]:
    files = []
    for path in files_below(snapshot):
        name = path.relative_to(snapshot).as_posix()
        if is_gguf_name(name):
            file = look_at(path, "projector" if is_projector_name(name) else "weights", name=name)
            if file is not None:
                files.append(replace(file, digest=_claimed_digest(file.path)))
    return files


def _claimed_digest(blob: Path) -> str | None:
    """Return the digest in a blob's name; files outside LFS are named by git's SHA-1."""
    is_named_by_content = blob.parent.name == "blobs" and SHA256.fullmatch(blob.name)
    return f"sha256:{blob.name}" if is_named_by_content else None
