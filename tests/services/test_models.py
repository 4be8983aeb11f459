"""Which models are on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import ModelNameError, ModelNotFoundError
from localrun.names.parse import parse_name
from localrun.services.models import Models
from localrun.services.naming import copy_model
from localrun.store.blobs import file_digest
from localrun.store.store import Store, embedded_models, embedded_projectors

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.workspace import Workspace


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(Store(tmp_path / "models"))


def test_the_embedded_model_is_listed_with_what_its_file_says(models: Models) -> None:
    (guide,) = models.list_models()

    assert guide.name == "guide:latest"
    path, projector = embedded_models()["guide:latest"], embedded_projectors()["guide:latest"]
    assert guide.size_bytes == path.stat().st_size + projector.stat().st_size
    assert guide.digest == file_digest(path)
    assert guide.modified.tzinfo is not None
    assert guide.details.format == "gguf"
    assert guide.details.parameter_size.endswith("M")
    assert {"completion", "vision"} <= set(guide.details.capabilities)
    assert models.find_model("guide").projectors == (projector,)


@pytest.mark.parametrize("name", ["guide", "guide:latest"])
def test_a_model_is_found_with_and_without_its_tag(models: Models, name: str) -> None:
    assert models.find_model(name).name == "guide:latest"


def test_a_near_name_is_suggested(models: Models) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        models.find_model("guied")

    assert caught.value.message == "model 'guied' is not on this machine"
    assert caught.value.hint == "localrun run guide"


def test_for_a_far_name_the_hint_is_the_list(models: Models) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        models.find_model("nosuch:1b")

    assert "localrun list" in (caught.value.hint or "")


def test_what_is_no_name_is_told_apart_from_what_is_not_here(models: Models) -> None:
    with pytest.raises(ModelNameError):
        models.find_model("not a name")


def test_a_name_is_identified_as_it_is_found(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "file.gguf"
    path.write_bytes(embedded_models()["guide:latest"].read_bytes())
    copy_model(workspace, parse_name("guide"), parse_name("Mine"))

    for name in ("guide", "GUIDE:latest", "mine", "mine:latest", str(path)):
        model, identity = workspace.models.find_model(name), workspace.models.identify(name)
        assert identity.name == model.name
        assert identity.digest == (None if name == str(path) else model.digest)


@pytest.mark.parametrize("name", ["nosuch", "guide+nosuch", "guide+./nosuch.gguf", "./nosuch.gguf"])
def test_what_is_not_found_is_not_identified(workspace: Workspace, name: str) -> None:
    with pytest.raises(ModelNotFoundError):
        workspace.models.identify(name)
