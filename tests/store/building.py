"""Build models in a store, and look at what a store holds."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from localrun.names.parse import parse_name
from localrun.store.manifest import (
    DOCKER_CONFIG,
    MEDIA_TYPES,
    Descriptor,
    Manifest,
    Role,
    model_config,
)
from localrun.store.store import Entry, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pytest

    from localrun.store.layout import Layout
    from localrun.store.locks import Lease
    from localrun.store.refs import StoredRef

WEIGHTS = b"GGUF weights"
NO_DIGEST = f"sha256:{'0' * 64}"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def descriptor(content: bytes, role: Role = Role.WEIGHTS, name: str | None = None) -> Descriptor:
    return Descriptor(
        media_type=MEDIA_TYPES[role], digest=sha256(content), size_bytes=len(content), name=name
    )


def manifest_of(layers: Sequence[bytes]) -> tuple[Manifest, bytes]:
    """Return the manifest of a model with these layers, and its config."""
    described = tuple(descriptor(layer) for layer in layers)
    config = model_config({"format": "gguf"}, described)
    described_config = Descriptor(
        media_type=DOCKER_CONFIG, digest=sha256(config), size_bytes=len(config)
    )
    return Manifest(config=described_config, layers=described), config


def put_model(
    store: Store, name: str, layers: Sequence[bytes] = (WEIGHTS,), lease: Lease | None = None
) -> StoredRef:
    """Make a model."""
    if lease is None:
        with store.lease() as own:
            return put_model(store, name, layers, own)
    manifest, config = manifest_of(layers)
    for content in (config, *layers):
        store.blobs.put(content, lease)
    return store.tag(parse_name(name), manifest.to_bytes(), lease)


def new_store(root: Path, others: Sequence[Path] = ()) -> Store:
    """Return a store whose folders are there."""
    store = Store(root, others)
    with store.lease():
        pass
    return store


def model_digests(store: Store, entries: Iterable[Entry]) -> dict[str, int]:
    """Return the size of every manifest, config and layer of these models by its digest."""
    sizes: dict[str, int] = {}
    for entry in entries:
        path = store.blobs.find(entry.ref.manifest)
        sizes[entry.ref.manifest] = 0 if path is None else path.stat().st_size
        sizes |= {blob.digest: blob.size_bytes for blob in entry.manifest.blobs}
    return sizes


def blob_names(layout: Layout) -> set[str]:
    return {f"sha256:{path.name}" for path in layout.blobs.iterdir()}


def ref_paths(layout: Layout) -> list[Path]:
    return [path for path in layout.refs.rglob("*") if path.is_file()]


def damage(path: Path) -> None:
    """Change a file's bytes, not its size."""
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes(byte ^ 1 for byte in content))


def snapshot(root: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def steps_to_disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list to which every later fsync and rename adds its name."""
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        steps.append("fsync")
        fsync(descriptor)

    def spy_replace(source: Path, target: Path) -> None:
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    return steps


def json_manifest(config: str, layers: Sequence[tuple[str, str]]) -> bytes:
    """Return a manifest as other tools write it, of media types and file names."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": config, "digest": sha256(b"{}"), "size": 2},
            "layers": [
                {
                    "mediaType": media_type,
                    "digest": sha256(str(number).encode()),
                    "size": 1,
                    "annotations": {"org.cncf.model.filepath": name} if name else None,
                }
                for number, (media_type, name) in enumerate(layers)
            ],
        }
    ).encode()
