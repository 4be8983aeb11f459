"""Models that llama.cpp downloaded into its cache.

    owner_repo_model-Q8_0.gguf              the file, beside it .json or .etag
    manifest=owner=repo=Q8_0.json           what ``-hf owner/repo:Q8_0`` downloaded

A manifest: ``{"ggufFile": {"rfilename": "model-Q8_0.gguf"}, "mmprojFile": {...}}``.
Since pull request 20775 llama.cpp keeps a Hugging Face cache, under LLAMA_CACHE if it is set;
models in that layout are found as well.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from localrun.store.foreign.huggingface import find_huggingface_models
from localrun.store.foreign.model import ForeignModel
from localrun.store.foreign.reading import list_folder, look_at, read_json, table, text_of
from localrun.store.foreign.sets import GgufSet, gguf_sets, is_model_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from localrun.store.foreign.model import FileRole, ForeignFile

TOOL = "llama.cpp"
NUM_MANIFEST_PARTS = 4  # "manifest", owner, repo, tag

_log = logging.getLogger(__name__)


def find_llamacpp_models(root: Path) -> list[ForeignModel]:
    """Return the models in llama.cpp's cache at ``root``.

    A model is named by its manifest, ``owner/repo:tag``, or by its file's stem without a manifest.
    """
    paths = {path.name: path for path in list_folder(root)}
    sets = {name: gguf_set for gguf_set in gguf_sets(paths) for name in gguf_set.names}
    named = [
        model
        for path in paths.values()
        if path.name.startswith("manifest=") and (model := _by_manifest(path, paths, sets))
    ]
    known = {file.path for model in named for file in model.files}
    unnamed = [
        ForeignModel(tool=TOOL, name=gguf_set.stem, files=files)
        for gguf_set in dict.fromkeys(sets.values())
        if is_model_name(gguf_set.stem)
        and (files := _weights(gguf_set, paths))
        and files[0].path not in known
    ]
    return [*named, *unnamed, *find_huggingface_models(root, tool=TOOL)]


def _by_manifest(
    path: Path, paths: Mapping[str, Path], sets: Mapping[str, GgufSet]
) -> ForeignModel | None:
    parts = path.stem.split("=")
    if len(parts) != NUM_MANIFEST_PARTS or path.suffix != ".json":
        return None
    _, owner, repo, tag = parts
    manifest = read_json(path)
    weights = sets.get(_cached_name(owner, repo, manifest.get("ggufFile")))
    files = _weights(weights, paths) if weights else ()
    if not files:
        _log.debug("skipped %s: its file is missing", path)
        return None
    projector = _file(paths, _cached_name(owner, repo, manifest.get("mmprojFile")), "projector")
    return ForeignModel(
        tool=TOOL, name=f"{owner}/{repo}:{tag}", files=(*files, *([projector] if projector else []))
    )


def _cached_name(owner: str, repo: str, entry: object) -> str:
    """Return the cache's name of a manifest's file; the name is looked up, never opened."""
    return f"{owner}_{repo}_{text_of(table(entry).get('rfilename'))}".replace("/", "_")


def _weights(gguf_set: GgufSet, paths: Mapping[str, Path]) -> tuple[ForeignFile, ...]:
    """Return the files of a set, or none if one is missing."""
    candidates = [_file(paths, name, "weights") for name in gguf_set.names]
    files = tuple(file for file in candidates if file is not None)
    return () if gguf_set.num_missing or len(files) != len(candidates) else files


def _file(paths: Mapping[str, Path], name: str, role: FileRole) -> ForeignFile | None:
    return look_at(paths[name], role) if name in paths else None
