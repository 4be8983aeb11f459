"""The models of an Ollama store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.store.foreign.ollama import MEDIA_TYPE, find_ollama_models
from localrun.store.foreign.reading import LARGEST_TEXT
from tests.store.foreign.layouts import WEIGHTS, sha256, without_change, write, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.store.foreign.model import ForeignModel

LLAMA = "registry.ollama.ai/library/llama3.2/3b"


def found(root: Path) -> list[ForeignModel]:
    return without_change(root, lambda: find_ollama_models(root))


def layer(root: Path, kind: str, content: bytes, separator: str = "-") -> dict[str, object]:
    write(root / "blobs" / f"sha256{separator}{sha256(content)}", content)
    digest = f"sha256:{sha256(content)}"
    return {"mediaType": MEDIA_TYPE + kind, "digest": digest, "size": len(content)}


def manifest(root: Path, name: str, layers: object) -> Path:
    return write_json(root / "manifests" / name, {"schemaVersion": 2, "layers": layers})


def test_a_model_has_its_layers_with_roles_and_digests_weights_first(tmp_path: Path) -> None:
    kinds = ["template", "system", "params", "license", "messages", "projector", "adapter"]
    kinds += ["draft", "something", "model"]
    layers = [layer(tmp_path, kind, WEIGHTS + kind.encode()) for kind in kinds]
    path = manifest(tmp_path, LLAMA, layers)

    (model,) = found(tmp_path)

    roles = [*kinds[:-2], "other"]
    assert (model.tool, model.name, model.manifest) == ("ollama", "llama3.2:3b", path)
    assert [file.role for file in model.files] == ["weights", *roles]
    assert model.files[0].digest == layers[-1]["digest"]
    assert model.files[0].path == (tmp_path / "blobs" / model.files[0].name).resolve()
    assert model.size_bytes == sum(len(WEIGHTS) + len(kind) for kind in kinds)
    assert model.revision is None


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("registry.ollama.ai/library/qwen3/latest", "qwen3:latest"),
        ("registry.ollama.ai/someone/qwen3/0.6b", "someone/qwen3:0.6b"),
        ("hf.co/Qwen/Qwen3-0.6B-GGUF/Q8_0", "hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0"),
        ("example.com:5000/library/x/y", "example.com:5000/library/x:y"),
    ],
)
def test_names_are_those_that_ollama_shows(tmp_path: Path, path: str, name: str) -> None:
    manifest(tmp_path, path, [layer(tmp_path, "model", WEIGHTS)])

    assert [model.name for model in found(tmp_path)] == [name]


def test_blobs_of_an_older_ollama_have_a_colon(tmp_path: Path) -> None:
    manifest(tmp_path, LLAMA, [layer(tmp_path, "model", WEIGHTS, separator=":")])

    (model,) = found(tmp_path)

    assert model.files[0].name == f"sha256:{sha256(WEIGHTS)}"


def test_a_blob_may_be_a_link_out_of_the_store(tmp_path: Path) -> None:
    one = layer(tmp_path / "store", "model", WEIGHTS)
    manifest(tmp_path / "store", LLAMA, [one])
    blob = tmp_path / "store" / "blobs" / f"sha256-{sha256(WEIGHTS)}"
    elsewhere = blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(elsewhere)

    (model,) = found(tmp_path / "store")

    assert model.files[0].path == elsewhere.resolve()
    assert model.files[0].name == blob.name


@pytest.mark.parametrize(
    "change",
    [
        {"digest": f"sha256:{'0' * 64}"},
        {"digest": "sha256:../../../etc/passwd"},
        {"digest": f"sha256:{'A' * 64}"},
        {"digest": 5},
        {"size": 1},
        {"size": "1"},
        {"mediaType": MEDIA_TYPE + "tensor"},
        {"mediaType": MEDIA_TYPE + "template"},
        {"mediaType": ["x"]},
    ],
    ids=str,
)
def test_a_model_with_a_broken_layer_is_left_out(tmp_path: Path, change: dict[str, object]) -> None:
    good, bad = layer(tmp_path, "model", WEIGHTS), layer(tmp_path, "model", WEIGHTS) | change
    manifest(tmp_path, LLAMA, [good])
    manifest(tmp_path, "registry.ollama.ai/library/bad/latest", [bad])

    assert [model.name for model in found(tmp_path)] == ["llama3.2:3b"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"layers": {}}', '{"layers": []}', '{"layers": [null, 3]}', "{" * 100_000],
)
def test_a_broken_manifest_is_left_out(tmp_path: Path, content: str) -> None:
    write(tmp_path / "manifests" / LLAMA, content)

    assert found(tmp_path) == []


def test_a_manifest_of_megabytes_or_of_thousands_of_layers_is_not_taken(tmp_path: Path) -> None:
    one = layer(tmp_path, "model", WEIGHTS)
    manifest(tmp_path, LLAMA, [one, "x" * LARGEST_TEXT])
    manifest(tmp_path, "registry.ollama.ai/library/many/latest", [one] * 1001)

    assert found(tmp_path) == []


def test_safetensors_are_left_out_even_beside_gguf(tmp_path: Path) -> None:
    layers = [layer(tmp_path, "model", WEIGHTS), layer(tmp_path, "tensor", b"tensor")]
    manifest(tmp_path, LLAMA, layers)

    assert found(tmp_path) == []


def test_only_manifests_at_their_depth_are_read_and_loops_are_not_followed(tmp_path: Path) -> None:
    layers = [layer(tmp_path, "model", WEIGHTS)]
    manifest(tmp_path, "registry.ollama.ai/library/shallow", layers)
    manifest(tmp_path, LLAMA + "/deep", layers)
    (tmp_path / "manifests" / "registry.ollama.ai" / "library" / "up").symlink_to(tmp_path)

    assert found(tmp_path) == []


def test_no_store_has_no_models(tmp_path: Path) -> None:
    assert find_ollama_models(tmp_path / "none") == []
