"""An error of a load names the model, and what helps with a file of another layout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import LoadError
from localrun.store.store import embedded_models
from localrun.supervisor.loader import named_error
from localrun.supervisor.model import RunnerModel
from tests.translation.families import FAMILIES

if TYPE_CHECKING:
    from pathlib import Path

GUIDE = embedded_models()["guide:latest"]


def failed(path: Path, name: str) -> LoadError:
    model = RunnerModel(name=name, shards=(path,), digest="", size_bytes=0)
    return named_error(LoadError(f"{path.name} could not be loaded: wrong number"), model)


def test_an_error_names_the_model_and_not_its_file() -> None:
    error = failed(GUIDE, "guide:latest")

    assert error.message == "guide:latest could not be loaded: wrong number"
    assert error.hint is None


def test_a_file_in_the_old_layout_gets_a_hint(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    FAMILIES["gemma3"].make(ours, GUIDE)
    FAMILIES["gemma3"].write_old(ours, theirs)

    assert failed(ours, "new").hint is None
    hint = "localrun show old   says how to translate it from Ollama's old layout"
    assert failed(theirs, "old").hint == hint


def test_a_file_that_is_gone_gets_none(tmp_path: Path) -> None:
    assert failed(tmp_path / "gone.gguf", "gone").hint is None
