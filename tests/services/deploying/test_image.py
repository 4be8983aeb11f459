"""Models pushed as images that a container runtime can mount."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.errors import UsageError
from localrun.modelfile.parse import parse_modelfile
from localrun.names.parse import parse_name
from localrun.services.creating.create import create_model
from localrun.services.deploying.image import push_image
from localrun.services.workspace import Workspace
from localrun.store.store_image import StoreLayer
from tests.fakes.registry import FakeRegistry
from tests.fakes.web import Web, serving
from tests.services.making import Told, workspace_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.services.push import Pushed


@pytest.fixture
def registry() -> Iterator[Web]:
    with serving(FakeRegistry()) as web:
        yield web


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = workspace_at(tmp_path, "http://127.0.0.1:9")
    recipe = parse_modelfile(b"FROM guide\nSYSTEM Arr.\n")
    create_model(made, parse_name("mine"), recipe, folder=tmp_path)
    return made


def push(workspace: Workspace, registry: Web, name: str = "mine") -> Pushed:
    target = parse_name(f"{registry.host}/me/mine:1")
    return push_image(workspace, parse_name(name), target, Told(), is_insecure=True)


def layer_of(workspace: Workspace) -> StoreLayer:
    entry = workspace.store.find(parse_name("mine"))
    assert entry is not None
    return StoreLayer(workspace.store, entry)


def test_the_layer_is_a_store_that_serves_the_model(
    workspace: Workspace, registry: Web, tmp_path: Path
) -> None:
    pushed = push(workspace, registry)
    fake = registry.answer
    assert isinstance(fake, FakeRegistry)
    index = json.loads(fake.manifests["me/mine", "1"][0])
    digests = [each["digest"] for each in index["manifests"]]
    manifests = [json.loads(fake.manifests["me/mine", digest][0]) for digest in digests]
    (layer,) = {each["layers"][0]["digest"] for each in manifests}
    content = fake.blobs["me/mine", layer]
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(tmp_path / "mounted", filter="data")

    settings = replace(
        workspace.settings,
        models_dir=tmp_path / "empty",
        extra_models=(tmp_path / "mounted",),
        prompts_dir=tmp_path / "cache" / "prompts",
    )
    model = Workspace(settings, {}, tmp_path).models.find_model("mine")

    assert model.recipe.system == "Arr."
    assert model.shards[0].read_bytes()[:4] == b"GGUF"
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    assert pushed.size_bytes == len(content)
    for manifest, each in zip(manifests, index["manifests"], strict=True):
        config = json.loads(fake.blobs["me/mine", manifest["config"]["digest"]])
        assert config["rootfs"]["diff_ids"] == [layer]
        assert config["architecture"] == each["platform"]["architecture"]


def test_what_the_registry_has_is_not_sent_again(workspace: Workspace, registry: Web) -> None:
    first, second = push(workspace, registry), push(workspace, registry)

    assert first.manifest == second.manifest
    assert first.sent_bytes > 0
    assert second.sent_bytes == 0


def test_the_layer_reads_the_same_from_every_position(workspace: Workspace) -> None:
    layer = layer_of(workspace)
    with layer.open_at(0) as file:
        whole = file.read()

    assert len(whole) == layer.size_bytes
    assert layer.digest() == f"sha256:{hashlib.sha256(whole).hexdigest()}"
    for position in (1, 511, 512, 513, 5000, len(whole) // 2, len(whole) - 1, len(whole)):
        with layer.open_at(position) as file:
            assert file.read(3000) == whole[position : position + 3000]


def test_models_that_are_not_in_the_store_are_refused(workspace: Workspace, registry: Web) -> None:
    with pytest.raises(UsageError, match="comes with localrun"):
        push(workspace, registry, "guide")
