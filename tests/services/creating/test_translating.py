"""Models in the layout of Ollama's old engine: said at pull and import, translated by create."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.errors import LoadError
from localrun.modelfile.recipe import Recipe
from localrun.names.parse import parse_name
from localrun.services.capabilities import check_can_answer
from localrun.services.creating.create import CreateOptions, create_model
from localrun.services.importing import import_path
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from localrun.store.adopt import AdoptMode
from localrun.store.store import embedded_models
from tests.services.making import Told
from tests.translation.files import gpt_oss, write_as_ollama

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ((".attn_output.", ".attn_out."), (".post_attention_norm.", ".ffn_norm."))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    known = Settings(log_dir=tmp_path / "log", models_dir=tmp_path / "store", is_offline=True)
    return Workspace(known, {}, home=tmp_path / "home")


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """Return gpt-oss as Ollama wrote it."""

    def old(name: str) -> str:
        for new, before in NAMES:
            name = name.replace(new, before)
        return name.removesuffix("_sinks.weight") + "_sinks" * name.endswith("_sinks.weight")

    new, made = tmp_path / "new.gguf", tmp_path / "old.gguf"
    gpt_oss(new, embedded_models()["guide:latest"])
    write_as_ollama(new, made, "gptoss", keys={}, tensors=old)
    return made


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


def test_an_imported_model_says_how_it_becomes_loadable(
    workspace: Workspace, old_file: Path
) -> None:
    told = Told()

    import_path(workspace, old_file, parse_name("kept"), told)

    assert told.notes[-1].endswith("translates it, with the line FROM kept:latest")
    with pytest.raises(LoadError, match="cannot be loaded") as caught:
        check_can_answer(workspace.models.find_model("kept"))
    assert caught.value.hint is not None
    assert "FROM kept:latest" in caught.value.hint

    create_model(workspace, parse_name("ready"), Recipe(sources=("kept",)), folder=old_file.parent)

    check_can_answer(workspace.models.find_model("ready"))
