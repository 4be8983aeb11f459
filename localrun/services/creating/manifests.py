"""Manifest of a model's files: the same files always have the same manifest."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from localrun.errors import IntegrityError
from localrun.gguf.data import check_data
from localrun.gguf.header import read_header
from localrun.services.index.headers import describe_header
from localrun.store.manifest import (
    DOCKER_CONFIG,
    MEDIA_TYPES,
    Descriptor,
    Manifest,
    Role,
    model_config,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from localrun.gguf.header import Header
    from localrun.store.locks import Lease
    from localrun.store.store import Store

GGUF_ROLES = {Role.WEIGHTS, Role.PROJECTOR, Role.ADAPTER, Role.DRAFT}


def layer_of(role: Role, name: str, path: Path, digest: str) -> Descriptor:
    """Return the layer of a file.

    Raises:
        IntegrityError: as `check_whole`.
    """
    check_whole(role, name, path)
    return Descriptor(
        media_type=MEDIA_TYPES[role],
        digest=digest,
        size_bytes=path.stat().st_size,
        name=PurePosixPath(name).name,
    )


def check_whole(role: Role, name: str, path: Path) -> None:
    """Check that a file of a GGUF role is GGUF and complete.

    Raises:
        IntegrityError: the file must be GGUF by its role, and is not, or is truncated.
    """
    if role not in GGUF_ROLES:
        return
    try:
        header = read_header(path)
    except IntegrityError as error:
        message = f"{name} is not a GGUF file: {error.message}"
        raise IntegrityError(message, hint=error.hint) from error
    try:
        check_data(header, path.stat().st_size)
    except IntegrityError as error:
        raise IntegrityError(f"{name}: {error.message}", hint=error.hint) from error


def make_manifest(
    store: Store,
    layers: Sequence[Descriptor],
    lease: Lease,
    facts: Mapping[str, Any] | None = None,
) -> bytes:
    """Store the config of a model, and return the manifest; its files are in the store.

    ``facts`` are those of the weights if their file is not here, see `facts_of`.

    Raises:
        IntegrityError: the layers have neither weights nor an engine.
    """
    weights = [layer for layer in layers if layer.role is Role.WEIGHTS]
    if any(layer.role is Role.REMOTE for layer in layers):
        stated: dict[str, Any] = {"format": "remote"}
    elif weights:
        known = facts or facts_of(read_header(store.blobs.path(weights[0].digest)))
        size = f"{sum(layer.size_bytes for layer in weights) / (1 << 20):.2f}MiB"
        stated = {**known, "size": size}
    else:
        raise IntegrityError("a model needs a GGUF file with weights")
    config = model_config(stated, tuple(layers))
    digest = store.blobs.put(config, lease)
    descriptor = Descriptor(media_type=DOCKER_CONFIG, digest=digest, size_bytes=len(config))
    return Manifest(config=descriptor, layers=tuple(layers)).to_bytes()


def facts_of(header: Header) -> dict[str, Any]:
    """Return what a config says about weights, but their size."""
    details = describe_header(header)
    return {
        "format": "gguf",
        "architecture": details.family,
        "quantization": details.quantization_level,
        "parameters": details.parameter_size,
        **({"context_size": details.context_length} if details.context_length else {}),
    }
