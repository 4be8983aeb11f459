"""Models of an Ollama store.

    manifests/registry.ollama.ai/library/llama3.2/3b       names the layers
    blobs/sha256-<hex>                                     one layer each

A manifest: ``{"layers": [{"mediaType": "application/vnd.ollama.image.model",
"digest": "sha256:<hex>", "size": 2019377376}, ...]}``. A model is returned only if all its layers
exist with their full size and its weights are GGUF.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from localrun.store.foreign.model import ForeignFile, ForeignModel
from localrun.store.foreign.reading import files_below, look_at, read_json, table, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from localrun.store.foreign.model import FileRole

TOOL = "ollama"
DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
NUM_NAME_PARTS = 4  # host, namespace, model, tag
MAX_LAYERS = 1000
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
MEDIA_TYPE = "application/vnd.ollama.image."
SAFETENSORS = MEDIA_TYPE + "tensor"
ROLES: Mapping[str, FileRole] = {
    MEDIA_TYPE + "model": "weights",
    MEDIA_TYPE + "projector": "projector",
    MEDIA_TYPE + "adapter": "adapter",
    MEDIA_TYPE + "template": "template",
    MEDIA_TYPE + "system": "system",
    MEDIA_TYPE + "params": "params",
    MEDIA_TYPE + "license": "license",
    MEDIA_TYPE + "messages": "messages",
    MEDIA_TYPE + "draft": "draft",
}

_log = logging.getLogger(__name__)


def find_ollama_models(root: Path) -> list[ForeignModel]:
    """Return the models of the store at ``root``, by manifest; damaged ones are left out."""
    models = []
    for path in files_below(root / "manifests"):
        parts = path.relative_to(root / "manifests").parts
        if len(parts) != NUM_NAME_PARTS:
            continue
        try:
            files = _files(read_json(path), root / "blobs")
        except _UnusableError as error:
            _log.debug("skipped %s: %s", path, error)
            continue
        models.append(ForeignModel(tool=TOOL, name=_name(*parts), files=files, manifest=path))
    return models


class _UnusableError(Exception):
    """The manifest names no usable model; never leaves this module."""


def _name(host: str, namespace: str, model: str, tag: str) -> str:
    """Return the name that ``ollama list`` shows."""
    if host != DEFAULT_HOST:
        return f"{host}/{namespace}/{model}:{tag}"
    return f"{model}:{tag}" if namespace == DEFAULT_NAMESPACE else f"{namespace}/{model}:{tag}"


def _files(manifest: Mapping[str, object], blobs: Path) -> tuple[ForeignFile, ...]:
    layers = manifest.get("layers")
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise _UnusableError("no list of layers")
    if any(text_of(table(layer).get("mediaType")) == SAFETENSORS for layer in layers):
        raise _UnusableError("the weights are safetensors")
    files = sorted(
        (_file(table(layer), blobs) for layer in layers), key=lambda file: file.role != "weights"
    )
    if not files or files[0].role != "weights":
        raise _UnusableError("no weights")
    return tuple(files)


def _file(layer: Mapping[str, object], blobs: Path) -> ForeignFile:
    digest = text_of(layer.get("digest"))
    match = DIGEST.fullmatch(digest)
    if not match:
        raise _UnusableError(f"not a digest: {digest[:80]!r}")
    role = ROLES.get(text_of(layer.get("mediaType")), "other")
    # Ollama before 0.1.30 used the colon, which Windows forbids in file names.
    for name in (f"sha256-{match[1]}", f"sha256:{match[1]}"):
        file = look_at(blobs / name, role, digest=digest)
        if file is not None:
            if layer.get("size", file.size_bytes) != file.size_bytes:
                raise _UnusableError(f"{name} has {file.size_bytes} bytes, unlike its layer")
            return file
    raise _UnusableError(f"blob {digest} is missing")
