"""Commands that change settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.chat import act_on
from tests.cli.chatting.fakes import FakeChat, fake_chat

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fake(tmp_path: Path) -> FakeChat:
    return fake_chat(tmp_path)


@pytest.mark.parametrize(
    ("command", "said", "name", "value"),
    [
        ("/set system Be kind.", "Set system message.", "system", "Be kind."),
        ('/set system """two\nlines"""', "Set system message.", "system", "two\nlines"),
        ("/system Be kind.", "Set system message.", "system", "Be kind."),
        ("/set format json", "Set format to 'json' mode.", "output_format", "json"),
        ("/set think", "Set 'think' mode.", "think", True),
        ("/set think high", "Set 'think' mode to high.", "think", "high"),
        ("/set nothink", "Set 'nothink' mode.", "think", False),
        ("/set verbose", "Set 'verbose' mode.", "is_verbose", True),
        ("/set nohistory", "Disabled history.", "keeps_history", False),
        ("/set nowordwrap", "Set 'nowordwrap' mode.", "wraps_words", False),
        ("/think hide", "Thoughts are hidden.", "hides_thinking", True),
        ("/think off", "Set 'nothink' mode.", "think", False),
    ],
)
def test_a_setting_is_changed(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], command: str, said: str, name: str,
    value: object,
) -> None:  # fmt: skip
    act_on(fake.chat, command)

    assert capsys.readouterr().err == f"{said}\n"
    assert getattr(fake.chat.session.settings, name) == value


@pytest.mark.parametrize(
    ("before", "command", "name", "value"),
    [
        ({"output_format": "json"}, "/set noformat", "output_format", None),
        ({"is_verbose": True}, "/set quiet", "is_verbose", False),
        ({"keeps_history": False}, "/set history", "keeps_history", True),
        ({"wraps_words": False}, "/set wordwrap", "wraps_words", True),
    ],
)
def test_a_setting_is_changed_back(
    tmp_path: Path, before: dict[str, object], command: str, name: str, value: object
) -> None:
    fake = fake_chat(tmp_path, **before)

    act_on(fake.chat, command)

    assert getattr(fake.chat.session.settings, name) == value


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("temperature 0.5", "temperature", 0.5),
        ("num_ctx 8k", "num_ctx", 8192),
        ("stop END", "stop", ["END"]),
        ('stop "<a>" "<b>"', "stop", ["<a>", "<b>"]),
        ("num_gpu 3", "num_gpu", 3),
    ],
)
def test_a_parameter_is_sent_with_the_next_message(
    fake: FakeChat, words: str, name: str, value: object
) -> None:
    act_on(fake.chat, f"/set parameter {words}")
    act_on(fake.chat, "hi")

    assert fake.client.bodies[0]["options"] == {name: value}


def test_a_parameter_of_the_load_says_when_it_takes_effect(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/set parameter num_gpu 3")

    assert "/save NAME and /load NAME apply it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("temprature 1", "did you mean temperature?"),
        ("temperature hot", "temperature is a number from 0 to 100"),
        ("temperature", "temperature needs a value"),
        ("", "which parameter?"),
    ],
)
def test_a_wrong_parameter_changes_nothing(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    act_on(fake.chat, f"/set parameter {words}")

    assert said in capsys.readouterr().err
    assert fake.chat.session.settings.sampling == {}


def test_an_unknown_level_of_reasoning_is_refused(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/set think hard")

    assert "one of low, medium, high, max" in capsys.readouterr().err
    assert fake.chat.session.settings.think is None


def test_a_persona_is_the_text_of_a_file(fake: FakeChat, tmp_path: Path) -> None:
    (tmp_path / "pirate.txt").write_text("You are a pirate.\n")

    act_on(fake.chat, f"/persona {tmp_path / 'pirate.txt'}")

    assert fake.chat.session.settings.system == "You are a pirate."


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * 300_000])
def test_a_file_that_is_no_persona_is_refused(
    fake: FakeChat, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "file").write_bytes(content)

    act_on(fake.chat, f"/persona {tmp_path / 'file'}")

    assert capsys.readouterr().err.startswith("error: ")
    assert fake.chat.session.settings.system is None


def test_set_alone_lists_what_can_be_set(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/set")

    assert "wordwrap, nowordwrap" in capsys.readouterr().err


def test_set_with_an_unknown_word_is_an_error(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/set colour red")

    assert "unknown word: colour" in capsys.readouterr().err


def test_another_context_is_loaded_at_once(fake: FakeChat) -> None:
    fake.client.context = 8192

    act_on(fake.chat, "/set parameter num_ctx 8k")

    assert fake.client.loads == [{"model": "guide:latest", "num_ctx": 8192}]
    assert fake.chat.session.context.total == 8192
