"""Commands for models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.chat import act_on
from localrun.errors import LoadError
from tests.cli.chatting.fakes import FakeChat, fake_chat

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeChat:
    monkeypatch.setenv("LOCALRUN_OFFLINE", "1")
    return fake_chat(tmp_path)


def test_another_model_goes_on_with_the_conversation(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.chat.session.settings.model = "removed:latest"
    fake.chat.session.messages = [{"role": "user", "content": "one"}]

    act_on(fake.chat, "/model guide")

    assert fake.client.loads == [{"model": "guide:latest"}]
    assert fake.chat.session.settings.model == "guide:latest"
    assert fake.conversation == [("user", "one")]
    assert "guide · 9.4 MB · 5.8M · Q8_0 · context 100 tokens" in capsys.readouterr().err


def test_a_model_that_does_not_load_changes_nothing(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.chat.session.settings.model = "other:latest"
    fake.client.load_error = LoadError("too large")

    act_on(fake.chat, "/model guide")

    assert "too large" in capsys.readouterr().err
    assert fake.chat.session.settings.model == "other:latest"


def test_model_alone_names_the_model(fake: FakeChat, capsys: pytest.CaptureFixture[str]) -> None:
    act_on(fake.chat, "/model")

    assert capsys.readouterr().err == "guide:latest\n"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("/list", "guide"),
        ("/show info", "quantization"),
        ("/show template", "im_start"),
        ("/show modelfile", "FROM "),
    ],
)
def test_models_are_listed_and_shown(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], command: str, shown: str
) -> None:
    act_on(fake.chat, command)

    assert shown in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/show license", "No license was specified for this model."),
        ("/show system", "No system message was specified for this model."),
        ("/show parameters", "No user defined parameters.\nNo model defined parameters."),
        ("/show", "one of info, license"),
        ("/show nothing", "unknown word: nothing"),
    ],
)
def test_what_a_model_lacks_is_said(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], command: str, said: str
) -> None:
    act_on(fake.chat, command)

    assert said in capsys.readouterr().err


def test_the_system_prompt_of_the_chat_is_shown_first(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/set system Be kind.")
    act_on(fake.chat, "/show system")

    assert capsys.readouterr().out == "Be kind.\n"


def test_an_adapter_that_is_not_there_changes_nothing(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/lora nosuch@0.5")

    assert capsys.readouterr().err.startswith("error: ")
    assert fake.chat.session.settings.adapters == ()


def test_adapters_are_removed_at_once(fake: FakeChat) -> None:
    fake.chat.session.settings.adapters = ("pirate@0.8",)

    act_on(fake.chat, "/lora off")

    assert fake.chat.session.settings.request_model == "guide:latest"


def test_lora_alone_says_what_is_used(fake: FakeChat, capsys: pytest.CaptureFixture[str]) -> None:
    act_on(fake.chat, "/lora")

    assert "no adapters" in capsys.readouterr().err
