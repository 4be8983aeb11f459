"""From a line to its command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import localrun
from localrun.cli.chatting.chat import act_on
from localrun.cli.chatting.commands.dispatch import COMMANDS
from tests.cli.chatting.fakes import FakeChat, fake_chat

NAMED = [  # by the issue, and those of Ollama
    "/set parameter", "/set system", "/set format", "/set noformat", "/set think", "/set nothink",
    "/set verbose", "/set quiet", "/set history", "/set nohistory", "/set wordwrap",
    "/set nowordwrap", "/show info", "/show license", "/show modelfile", "/show parameters",
    "/show system", "/show template", "/load", "/save", "/clear", "/bye", "/exit", "/?", "/help",
    "/list", "/regenerate", "/undo", "/retry", "/edit", "/copy", "/chats", "/export", "/file",
    "/image", "/model", "/lora", "/tokens", "/system", "/persona", "/compare", "/compact",
    "/tools", "/skills", "/prompt", "/stats", "/think",
]  # fmt: skip


@pytest.fixture
def fake(tmp_path: Path) -> FakeChat:
    return fake_chat(tmp_path)


def test_every_command_is_there_once() -> None:
    names = [name for one in COMMANDS for name in (one.name, *one.aliases)]

    assert len(names) == len(set(names))
    assert set(NAMED) <= set(names)
    assert all(name == name.lower() and name.startswith("/") for name in names)


@pytest.mark.parametrize(
    ("typed", "meant"), [("/regenrate", "/regenerate"), ("/hlep", "/help"), ("/modl x", "/model")]
)
def test_an_unknown_command_names_the_nearest(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], typed: str, meant: str
) -> None:
    act_on(fake.chat, typed)

    said = capsys.readouterr().err
    assert f"unknown command '{typed.partition(' ')[0]}'" in said
    assert f"did you mean {meant}? Type /? for help" in said
    assert fake.client.bodies == []


@pytest.mark.parametrize("text", ["/etc/hosts is a file, isn't it?", "/usr", "a /bye in a text"])
def test_a_path_begins_a_message(fake: FakeChat, text: str) -> None:
    act_on(fake.chat, text)

    assert fake.conversation[0] == ("user", text)


@pytest.mark.parametrize("typed", ["/BYE", "/Exit", " /bye "])
def test_case_and_white_space_do_not_matter(fake: FakeChat, typed: str) -> None:
    act_on(fake.chat, typed)

    assert fake.chat.is_over


def test_a_long_unknown_word_is_an_error(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/" + "x" * 100_000)

    assert "Type /? for help" in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["/?", "/help"])
def test_the_help_names_every_command(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    act_on(fake.chat, typed)

    shown = capsys.readouterr().out
    assert all(one.name in shown for one in COMMANDS)


def test_the_help_of_a_word_has_its_commands_only(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/? show")

    shown = capsys.readouterr().out
    assert "/show template" in shown
    assert "/set" not in shown


def test_the_help_of_shortcuts_has_the_keys(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/? shortcuts")

    assert "Ctrl-R" in capsys.readouterr().out


def test_the_help_of_an_unknown_word_is_an_error(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/? nothing")

    assert "is not a command" in capsys.readouterr().err


def test_the_help_page_has_every_command() -> None:
    page = (Path(localrun.__file__).parent / "docs" / "help" / "chat.md").read_text()
    words = set(re.findall(r"(/[a-z?]+(?: [a-z]+)?)", page)) | set(re.findall(r"/[a-z?]+", page))

    for command in COMMANDS:
        parts = command.name.split()
        assert command.name in words or (parts[0] == "/show" and f"`{parts[1]}`" in page)
