"""The notice of a context that is smaller than the model's own: once, and on a terminal only."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from localrun.cli.serving import context_notice
from localrun.cli.serving.context_notice import note_small_context
from localrun.settings import Settings
from tests.server.serving import FakeCatalogue

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.stored_model import StoredModel

NOTICE = (
    "(the context is 8192 of the model's 40960 tokens: --ctx 40960 raises it, "
    "LOCALRUN_CONTEXT_LENGTH for the server)"
)


def why(source: str = "plan", context: int = 8192) -> dict[str, Any]:
    return {"context": context, "settings": [{"name": "context", "source": source}]}


@pytest.fixture
def model() -> StoredModel:
    stored = FakeCatalogue().model
    return replace(stored, details=replace(stored.details, context_length=40960))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(log_dir=tmp_path, prompts_dir=tmp_path / "cache" / "prompts")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return a list whose last element is the server's answer; the command has a terminal."""
    answers = [why()]
    client = SimpleNamespace(why=lambda _: answers[-1])
    monkeypatch.setattr(context_notice, "find_server", lambda _: client)
    monkeypatch.setattr(context_notice, "is_terminal", lambda _: True)
    return answers


@pytest.mark.usefixtures("server")
def test_it_is_said_once_for_each_model(
    settings: Settings, model: StoredModel, capsys: pytest.CaptureFixture[str]
) -> None:
    for digest in ("sha256:ab", "sha256:ab", "sha256:cd"):
        note_small_context(settings, replace(model, digest=digest))

    assert capsys.readouterr().err.splitlines() == [NOTICE, NOTICE]


@pytest.mark.usefixtures("server")
def test_it_is_never_said_in_a_pipe(
    settings: Settings,
    model: StoredModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(context_notice, "is_terminal", lambda _: False)

    note_small_context(settings, model)

    assert capsys.readouterr() == ("", "")
    assert not settings.notices_dir.exists()


@pytest.mark.parametrize(
    "answer", [why("recipe"), why("environment LOCALRUN_CONTEXT_LENGTH"), why(context=40960), {}]
)
def test_a_context_that_was_chosen_or_is_whole_is_not_worth_a_word(
    server: list[dict[str, Any]],
    settings: Settings,
    model: StoredModel,
    answer: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.append(answer)

    note_small_context(settings, model)

    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("server")
def test_it_is_not_said_if_it_would_be_said_again(
    settings: Settings, model: StoredModel, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.notices_dir.parent.mkdir(parents=True)
    settings.notices_dir.touch()  # no folder can be made here

    note_small_context(settings, model)

    assert capsys.readouterr().err == ""
