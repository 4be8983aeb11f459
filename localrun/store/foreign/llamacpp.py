"""The models that llama.cpp downloaded into its cache.

    owner_repo_model-Q8_0.gguf              the file, beside it .json or .etag
    manifest=owner=repo=Q8_0.json           what ``-hf owner/repo:Q8_0`` downloaded

A manifest: ``{"ggufFile": {"rfilename": "model-Q8_0.gguf"}, "mmprojFile": {...}}``.
Since pull request 20775 llama.cpp keeps a Hugging Face cache, under LLAMA_CACHE if
that is set; models in that layout are found as well.
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

    They are named by their manifest, ``owner/repo:tag``, or by their file's stem
    where no manifest tells of them.
    """
    paths = {path.name: path for path in list_folder(root)}
    sets = {name: one for one in gguf_sets(paths) for name in one.names}
    named = [
        model
        for path in paths.values()
        if path.name.startswith("manifest=") and (model := _by_manifest(path, paths, sets))
    ]
    known = {file.path for model in named for file in model.files}
    unnamed = [
        ForeignModel(tool=TOOL, name=one.stem, files=files)
        for one in dict.fromkeys(sets.values())
        if is_model_name(one.stem)
        and (files := _weights(one, paths))
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
        _log.debug("skipped %s: its file is not there", path)
        return None
    projector = _file(paths, _cached_name(owner, repo, manifest.get("mmprojFile")), "projector")
    return ForeignModel(
        tool=TOOL, name=f"{owner}/{repo}:{tag}", files=(*files, *([projector] if projector else []))
    )


def _cached_name(owner: str, repo: str, entry: object) -> str:
    """Return the name in the cache of a manifest's file; it is looked up, never opened."""
    return f"{owner}_{repo}_{text_of(table(entry).get('rfilename'))}".replace("/", "_")


def _weights(one: GgufSet, paths: Mapping[str, Path]) -> tuple[ForeignFile, ...]:
    """Return a set's files, none at all where one is missing."""
    found = [_file(paths, name, "weights") for name in one.names]
    files = tuple(file for file in found if file is not None)
    return () if one.num_missing or len(files) != len(found) else files


def _file(paths: Mapping[str, Path], name: str, role: FileRole) -> ForeignFile | None:
    return look_at(paths[name], role) if name in paths else None
