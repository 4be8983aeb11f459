"""OCI image layouts: a folder of blobs by digest, or the same as one tar archive.

oci-layout           {"imageLayoutVersion": "1.0.0"}
index.json           the manifest, with its name
manifest.json        the same image for `docker load`
blobs/sha256/<hex>   manifest, config, layers
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from container.layers import Layer

JsonObject = dict[str, object]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"
FILE_MODE, FOLDER_MODE = 0o644, 0o755


def write_layout(
    folder: Path, config: JsonObject, layers: Sequence[Layer], *, name: str, annotations: JsonObject
) -> str:
    """Write an image to an empty folder, moving the files of the layers; return its digest."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    described: list[object] = []
    for layer in layers:
        shutil.move(layer.file, blobs / layer.digest.removeprefix("sha256:"))
        described.append({"mediaType": LAYER, "digest": layer.digest, "size": layer.size})
    config_blob = _write_blob(blobs, CONFIG, config)
    manifest: JsonObject = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config_blob,
        "layers": described,
        "annotations": annotations,
    }
    image = _write_blob(blobs, MANIFEST, manifest)
    tag = name.rpartition(":")[2]
    named = {**image, "annotations": {NAME: tag, FULL_NAME: f"docker.io/library/{name}"}}
    index: JsonObject = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}
    paths = [f"blobs/sha256/{layer.digest.removeprefix('sha256:')}" for layer in layers]
    config_path = f"blobs/sha256/{str(config_blob['digest']).removeprefix('sha256:')}"
    docker = [{"Config": config_path, "RepoTags": [name], "Layers": paths}]
    for file, value in (
        ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
        ("index.json", index),
        ("manifest.json", docker),
    ):
        (folder / file).write_bytes(_json(value))
    return str(image["digest"])


def pack_layout(folder: Path, archive: Path, *, time_s: int) -> None:
    """Write the layout in a folder as one archive."""
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            info = tarfile.TarInfo(path.relative_to(folder).as_posix())
            info.mtime, info.mode = time_s, FOLDER_MODE
            if path.is_dir():
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
                continue
            info.mode, info.size = FILE_MODE, path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(info, file)


def _write_blob(blobs: Path, media_type: str, value: object) -> JsonObject:
    data = _json(value)
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
