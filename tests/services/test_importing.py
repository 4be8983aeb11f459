"""Take what is on this machine already, and leave it as it is."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError, ModelNotFoundError, NotFoundError, UsageError
from localrun.names.parse import parse_name
from localrun.services.importing import (
    Imported,
    foreign_models,
    import_model,
    import_path,
    local_name,
)
from localrun.services.pulling.outdated import find_outdated
from localrun.store.foreign.folders import ForeignTool
from localrun.store.manifest import Role
from tests.services.making import (
    FILES,
    REPO,
    TEMPLATE,
    WEIGHTS,
    Told,
    blob_of,
    digest,
    entry_of,
    gguf,
    names_in,
)
from tests.store.foreign.layouts import write, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.workspace import Workspace
    from tests.fakes.hub import FakeHub

MEDIA = "application/vnd.ollama.image."


def take(workspace: Workspace, path: Path, name: str | None = None) -> list[Imported]:
    return import_path(workspace, path, parse_name(name) if name else None, Told())


def take_from(workspace: Workspace, tool: ForeignTool, name: str | None = None) -> list[Imported]:
    models = foreign_models(workspace, tool, name)
    return [import_model(workspace, model, local_name(model), Told()) for model in models]


def is_shared(workspace: Workspace, content: bytes, original: Path) -> bool:
    """Return whether a blob takes no space of its own: the same file, or a clone of its blocks."""
    return blob_of(workspace, content).stat().st_ino == original.stat().st_ino


def content_of(root: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return what is in a folder; the number of links may grow, nothing else may change."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def ollama(root: Path) -> Path:
    """Make an Ollama store with one model and return the file of its weights."""

    def layer(kind: str, content: bytes) -> dict[str, object]:
        write(root / "blobs" / digest(content).replace(":", "-"), content)
        return {"mediaType": kind, "digest": digest(content), "size": len(content)}

    config = json.dumps({"model_format": "gguf", "model_family": "llama"}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": layer("application/vnd.docker.container.image.v1+json", config),
        "layers": [
            layer(f"{MEDIA}model", WEIGHTS),
            layer(f"{MEDIA}template", b"{{ .Prompt }}"),
            layer(f"{MEDIA}params", b'{"stop": ["x"]}'),
        ],
    }
    write_json(root / "manifests/registry.ollama.ai/library/llama3.2/3b", manifest)
    return root / "blobs" / digest(WEIGHTS).replace(":", "-")


def hub_cache(root: Path, commit: str = "a" * 40) -> Path:
    """Make a Hugging Face cache with one file and return its blob."""
    repo = root / f"models--{REPO.replace('/', '--')}"
    blob = write(repo / "blobs" / digest(WEIGHTS).partition(":")[2], WEIGHTS)
    write(repo / "refs" / "main", commit)
    link = repo / "snapshots" / commit / "model-Q4_K_M.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    return blob


def test_a_file_is_a_model_without_a_copy(workspace: Workspace, tmp_path: Path) -> None:
    path = write(tmp_path / "files" / "my model-Q4_K_M.gguf", WEIGHTS)
    before = content_of(path.parent)

    (imported,) = take(workspace, path, "mine")

    assert (imported.name, imported.size_bytes) == ("mine:latest", len(WEIGHTS))
    assert imported.copied_bytes == 0
    assert is_shared(workspace, WEIGHTS, path)
    assert content_of(path.parent) == before
    assert entry_of(workspace, "mine").ref.origin is None


def test_where_nothing_can_be_shared_it_is_copied_and_said(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localrun.store.adopt._clone", lambda *_: False)
    monkeypatch.setattr("localrun.store.adopt._link", lambda *_: False)
    path = write(tmp_path / "m.gguf", WEIGHTS)

    first, again = take(workspace, path, "mine"), take(workspace, path, "again")

    assert first[0].copied_bytes == len(WEIGHTS)
    assert again[0].copied_bytes == 0


def test_a_file_gets_its_own_name_with_what_a_name_cannot_have_left_out(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = write(tmp_path / "My Model (v2)-Q4_K_M.gguf", WEIGHTS)

    (imported,) = take(workspace, path)

    assert imported.name == "My-Model-v2-Q4_K_M:latest"


def test_a_folder_brings_all_its_models_each_with_what_belongs_to_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    for name, content in FILES.items():
        write(tmp_path / "folder" / name, content)

    names = [imported.name for imported in take(workspace, tmp_path / "folder")]

    assert names == ["model-Q4_K_M:latest", "model-Q8_0:latest"]
    layers = entry_of(workspace, "model-Q8_0").manifest.layers
    assert [layer.role for layer in layers] == [
        Role.WEIGHTS,
        Role.PROJECTOR,
        Role.TEMPLATE,
        Role.LICENSE,
    ]
    with pytest.raises(NotFoundError, match="has 2 models"):
        take(workspace, tmp_path / "folder", "one")


def test_one_shard_brings_the_others(workspace: Workspace, tmp_path: Path) -> None:
    shards = [write(tmp_path / f"m-0000{n}-of-00002.gguf", gguf(n)) for n in (1, 2)]

    take(workspace, shards[1], "mine")

    layers = entry_of(workspace, "mine").manifest.layers
    assert [layer.digest for layer in layers] == [digest(gguf(n)) for n in (1, 2)]
    shards[0].unlink()
    with pytest.raises(IntegrityError, match="00001-of-00002"):
        take(workspace, shards[1], "other")


def test_what_is_no_model_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        take(workspace, tmp_path / "nothing.gguf")
    with pytest.raises(IntegrityError):
        take(workspace, write(tmp_path / "page.gguf", b"<html>"))
    for name in ("./mine.gguf", "https://host/mine.gguf"):
        with pytest.raises(UsageError, match="not a valid new name"):
            take(workspace, write(tmp_path / "m.gguf", WEIGHTS), name)

    assert names_in(workspace) == []


def test_a_name_in_a_registry_does_not_claim_to_be_from_there(
    workspace: Workspace, tmp_path: Path
) -> None:
    take(workspace, write(tmp_path / "m.gguf", WEIGHTS), "ghcr.io/me/mine:1")

    assert entry_of(workspace, "ghcr.io/me/mine:1").ref.origin is None


def test_ollamas_model_keeps_its_manifest_and_ollama_its_files(workspace: Workspace) -> None:
    root = workspace.home / ".ollama" / "models"
    weights = ollama(root)
    before = content_of(root)

    (imported,) = take_from(workspace, ForeignTool.OLLAMA, "llama3.2:3b")

    path = root / "manifests/registry.ollama.ai/library/llama3.2/3b"
    assert imported.name == "llama3.2:3b"
    assert imported.manifest == digest(path.read_bytes())
    assert imported.copied_bytes == 0
    assert is_shared(workspace, WEIGHTS, weights)
    assert content_of(root) == before
    assert entry_of(workspace, "llama3.2:3b").manifest.layers[0].role is Role.WEIGHTS


def test_a_model_outlives_the_tool_that_it_came_from(workspace: Workspace) -> None:
    root = workspace.home / ".ollama" / "models"
    ollama(root)
    take_from(workspace, ForeignTool.OLLAMA)

    shutil.rmtree(root)

    assert blob_of(workspace, WEIGHTS).read_bytes() == WEIGHTS
    assert workspace.models.find_model("llama3.2:3b").details.family == "llama"


def test_the_hubs_cache_says_where_a_model_is_from(workspace: Workspace, hub: FakeHub) -> None:
    blob = hub_cache(workspace.home / ".cache/huggingface/hub", hub.repos[REPO].head.commit)
    before = content_of(workspace.home)

    (imported,) = take_from(workspace, ForeignTool.HUGGINGFACE, f"{REPO}:q4_k_m")

    assert imported.name == f"hf.co/{REPO}:Q4_K_M"
    assert is_shared(workspace, WEIGHTS, blob)
    assert content_of(workspace.home) == before
    ref = entry_of(workspace, imported.name).ref
    assert (ref.origin, ref.revision) == (imported.name, hub.repos[REPO].head.commit)
    assert [model.name for model in find_outdated(workspace)] == [imported.name]


@pytest.mark.parametrize(
    ("publisher", "repo", "name"),
    [
        ("lmstudio-community", "gemma-3-4b-it-GGUF", "lmstudio-community/gemma-3-4b-it-GGUF"),
        ("some.one", "Qwen2.5-7B-GGUF", "some-one/Qwen2.5-7B-GGUF"),
        ("local host", "my model", "local-host/my-model"),
    ],
)
def test_a_model_of_lm_studio_gets_a_name_of_this_machine(
    workspace: Workspace, publisher: str, repo: str, name: str
) -> None:
    folder = workspace.home / ".lmstudio" / "models" / publisher / repo
    path = write(folder / "m-Q4_K_M.gguf", WEIGHTS)
    before = content_of(workspace.home)

    (imported,) = take_from(workspace, ForeignTool.LMSTUDIO)

    assert imported.name == f"{name}:Q4_K_M"
    assert parse_name(imported.name).host is None
    assert is_shared(workspace, WEIGHTS, path)
    assert content_of(workspace.home) == before


def test_a_model_of_llama_cpp_is_found_in_its_cache(workspace: Workspace) -> None:
    path = write(workspace.home / ".cache/llama.cpp/owner_repo_m-Q8_0.gguf", WEIGHTS)

    (imported,) = take_from(workspace, ForeignTool.LLAMACPP)

    assert imported.name == "owner_repo_m-Q8_0:latest"
    assert is_shared(workspace, WEIGHTS, path)


def test_a_name_that_a_tool_has_not_is_told_with_those_it_has(workspace: Workspace) -> None:
    ollama(workspace.home / ".ollama" / "models")

    with pytest.raises(ModelNotFoundError, match=r"it has llama3\.2:3b") as caught:
        take_from(workspace, ForeignTool.OLLAMA, "nosuch")

    assert caught.value.hint == "localrun import --from ollama --list"
    assert take_from(workspace, ForeignTool.LMSTUDIO) == []


def test_bytes_that_are_here_already_are_shared_between_the_ways_they_came(
    workspace: Workspace, tmp_path: Path
) -> None:
    ollama(workspace.home / ".ollama" / "models")
    take_from(workspace, ForeignTool.OLLAMA)

    (imported,) = take(workspace, write(tmp_path / "m.gguf", WEIGHTS), "mine")

    assert imported.copied_bytes == 0
    assert TEMPLATE not in {path.read_bytes() for path in workspace.store.layout.blobs.iterdir()}
