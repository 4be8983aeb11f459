"""Files of the next message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.chat import act_on
from tests.cli.chatting.fakes import FakeChat, fake_chat, pieces

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = "File my notes.txt:\n```\nBuy bread.\n```"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeChat:
    folder = tmp_path / "here"
    (folder / "src").mkdir(parents=True)
    (folder / "my notes.txt").write_text("Buy bread.\n")
    (folder / "src" / "a.py").write_text("a = 1\n")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    monkeypatch.chdir(folder)
    return fake_chat(tmp_path)


@pytest.mark.parametrize("path", ['"my notes.txt"', "my\\ notes.txt"])
def test_a_file_goes_with_the_next_message_alone(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    act_on(fake.chat, f"/file {path}")
    act_on(fake.chat, "What do I need?")
    act_on(fake.chat, "And else?")

    assert "(my notes.txt: 7 tokens)" in capsys.readouterr().err
    assert fake.conversation[0] == ("user", f"{BLOCK}\n\nWhat do I need?")
    assert fake.conversation[2] == ("user", "And else?")


def test_off_removes_the_files(fake: FakeChat) -> None:
    act_on(fake.chat, "/file src/a.py")
    act_on(fake.chat, "/file off")
    act_on(fake.chat, "Hello")

    assert fake.conversation[0] == ("user", "Hello")


def test_a_folder_asks_first(fake: FakeChat) -> None:
    act_on(fake.chat, "/file src")
    assert fake.chat.documents == []

    fake.composer.keys = ["y"]
    act_on(fake.chat, "/file src")

    assert [one.name for one in fake.chat.documents] == ["src/a.py"]


def test_a_marked_path_is_attached(fake: FakeChat) -> None:
    act_on(fake.chat, "Explain @src/a.py, please.")

    message = fake.chat.session.messages[0]
    assert message["content"].endswith("\n\nExplain [file 1: a.py], please.")
    assert message["typed"] == "Explain @src/a.py, please."
    assert "typed" not in fake.client.bodies[0]["messages"][0]
    assert "attachments" not in fake.client.bodies[0]["messages"][0]


def test_a_file_that_cannot_be_attached_is_typed_again(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    act_on(fake.chat, "/file src/a.py")
    act_on(fake.chat, "see @photo.jpg")

    assert "guide:latest has no capability for them" in capsys.readouterr().err
    assert fake.client.bodies == []
    assert fake.chat.draft == "see @photo.jpg"
    assert len(fake.chat.documents) == 1


def test_a_path_of_an_image_is_sent_as_text_and_noted(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.client.answers = [pieces("No.")]

    act_on(fake.chat, "Do you see ./photo.jpg?")

    assert "(not attached: ./photo.jpg: images cannot be sent" in capsys.readouterr().err
    assert fake.sent == [("user", "Do you see ./photo.jpg?")]


def test_a_file_that_takes_most_of_the_context_is_warned_about(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.client.context = 10
    act_on(fake.chat, "/model guide")

    act_on(fake.chat, '/file "my notes.txt"')

    assert "the context has 10 tokens, and the 1 file 7" in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["/file gone.txt", "/file photo.jpg", "/image photo.jpg"])
def test_what_cannot_be_added_is_an_error(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], typed: str
) -> None:
    act_on(fake.chat, typed)

    assert "error: " in capsys.readouterr().err
    assert fake.chat.documents == []


def test_an_edited_message_takes_its_files_along(fake: FakeChat) -> None:
    act_on(fake.chat, '/file "my notes.txt"')
    act_on(fake.chat, "What do I need?")
    fake.composer.edited = lambda text: f"{text} Quickly!"

    act_on(fake.chat, "/edit")

    assert fake.sent == [("user", f"{BLOCK}\n\nWhat do I need? Quickly!")]


def test_an_edit_that_cannot_be_attached_keeps_the_turn(fake: FakeChat) -> None:
    act_on(fake.chat, "Hello")
    fake.composer.edited = lambda text: f"{text} @photo.jpg"

    act_on(fake.chat, "/edit")

    assert fake.conversation == [("user", "Hello"), ("assistant", "Hello.")]
    assert fake.chat.draft == "Hello @photo.jpg"
