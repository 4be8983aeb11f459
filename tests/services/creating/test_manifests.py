"""The manifest of files: the same files, the same digest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError
from localrun.services.creating.manifests import layer_of, make_manifest
from localrun.store.manifest import Role, parse_manifest
from localrun.store.store import Store
from tests.services.making import WEIGHTS, digest, gguf

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.store.manifest import Descriptor


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def layers_of(store: Store, files: dict[str, tuple[Role, bytes]]) -> list[Descriptor]:
    with store.lease() as lease:
        return [
            layer_of(role, name, store.blobs.path(store.blobs.put(content, lease)), digest(content))
            for name, (role, content) in files.items()
        ]


def manifest_of(store: Store, files: dict[str, tuple[Role, bytes]]) -> bytes:
    layers = layers_of(store, files)
    with store.lease() as lease:
        return make_manifest(store, layers, lease)


FILES = {
    "folder/m-Q8_0.gguf": (Role.WEIGHTS, WEIGHTS),
    "mmproj.gguf": (Role.PROJECTOR, gguf(9, 5000, "clip")),
    "LICENSE": (Role.LICENSE, b"Do as you like."),
}


def test_the_same_files_have_the_same_manifest_in_any_store(tmp_path: Path) -> None:
    first, second = (manifest_of(Store(tmp_path / name), FILES) for name in ("a", "b"))

    assert first == second


def test_it_names_the_files_without_folders_and_what_the_header_says(store: Store) -> None:
    manifest = parse_manifest(manifest_of(store, FILES))

    assert [(layer.role, layer.name) for layer in manifest.layers] == [
        (Role.WEIGHTS, "m-Q8_0.gguf"),
        (Role.PROJECTOR, "mmproj.gguf"),
        (Role.LICENSE, "LICENSE"),
    ]
    config = json.loads(store.blobs.read(manifest.config.digest, max_bytes=1 << 20))
    assert config["config"]["format"] == "gguf"
    assert config["config"]["architecture"] == "llama"
    assert config["config"]["size"] == "0.02MiB"


@pytest.mark.parametrize("role", [Role.WEIGHTS, Role.PROJECTOR])
def test_a_file_that_is_no_gguf_is_refused_by_its_name(store: Store, role: Role) -> None:
    with pytest.raises(IntegrityError, match=r"m\.gguf is not a GGUF file"):
        layers_of(store, {"m.gguf": (role, b"<html>")})


def test_a_model_has_weights(store: Store) -> None:
    with pytest.raises(IntegrityError, match="weights"):
        manifest_of(store, {"LICENSE": (Role.LICENSE, b"none")})
