"""Models in the layout of Ollama's old engine are translated by create."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import LoadError
from localrun.modelfile.recipe import Recipe
from localrun.names.parse import parse_name
from localrun.services.capabilities import check_can_answer
from localrun.services.creating.create import CreateOptions, create_model
from localrun.services.creating.manifests import layer_of, make_manifest
from localrun.services.show import describe_model
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from localrun.store.adopt import AdoptMode, adopt
from localrun.store.manifest import Role
from tests.services.making import Told
from tests.services.translating.publishing import gpt_oss_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    known = Settings(log_dir=tmp_path / "log", models_dir=tmp_path / "store", is_offline=True)
    return Workspace(known, {}, home=tmp_path / "home")


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """Return gpt-oss as Ollama wrote it."""
    return gpt_oss_files(tmp_path)[1]


def test_create_translates_a_file(workspace: Workspace, old_file: Path) -> None:
    told = Told()

    create_model(
        workspace, parse_name("oss"), Recipe(sources=(str(old_file),)), folder=old_file.parent,
        report=told,
    )  # fmt: skip

    model = workspace.models.find_model("oss")
    check_can_answer(model)
    assert model.details.family == "gpt-oss"
    assert "have been translated" in told.notes[-1]


def test_a_file_to_be_moved_stays_if_it_had_to_be_translated(
    workspace: Workspace, old_file: Path
) -> None:
    options = CreateOptions(adopt_mode=AdoptMode.MOVE)

    create_model(
        workspace, parse_name("oss"), Recipe(sources=(str(old_file),)), folder=old_file.parent,
        options=options,
    )  # fmt: skip

    assert old_file.exists()


def test_a_model_that_was_stored_as_published_says_how_it_becomes_loadable(
    workspace: Workspace, old_file: Path
) -> None:
    put_as_published(workspace, old_file, "kept")

    with pytest.raises(LoadError, match="cannot be loaded") as caught:
        check_can_answer(workspace.models.find_model("kept"))
    assert caught.value.hint is not None
    assert "FROM kept:latest" in caught.value.hint
    layout = describe_model(workspace, "kept").layout
    assert layout is not None
    assert "which llama.cpp does not load" in layout

    create_model(workspace, parse_name("ready"), Recipe(sources=("kept",)), folder=old_file.parent)

    check_can_answer(workspace.models.find_model("ready"))


def put_as_published(workspace: Workspace, file: Path, name: str) -> None:
    """Store a model as a localrun did that translated nothing."""
    with workspace.store.lease() as lease:
        blob = adopt(workspace.store, file, lease)
        layer = layer_of(Role.WEIGHTS, file.name, blob.path, blob.digest)
        manifest = make_manifest(workspace.store, [layer], lease)
        workspace.store.tag(parse_name(name), manifest, lease)


def test_a_file_says_how_it_becomes_loadable(workspace: Workspace, old_file: Path) -> None:
    with pytest.raises(LoadError) as caught:
        check_can_answer(workspace.models.find_model(str(old_file)))

    assert caught.value.hint == f"localrun import {old_file}   translates it"
    layout = describe_model(workspace, str(old_file)).layout
    assert layout is not None
    assert layout.endswith(f"localrun import {old_file}   translates it")
