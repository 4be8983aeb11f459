"""Files of the next message."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.attaching import request_media
from localrun.cli.chatting.attaching.documents import MediaFile
from localrun.cli.chatting.attaching.media import FileKind
from localrun.cli.chatting.chat import act_on
from localrun.services import models
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
    (folder / "paper.pdf").write_bytes(b"%PDF-1.7\n")
    (folder / "note.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(models, "embedded_projectors", dict)  # guide without eyes and ears
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


@pytest.mark.parametrize(
    ("command", "listed", "left"),
    [("/file", "my notes.txt, paper.pdf with", ["a.gif"]), ("/image", "a.gif with", ["paper.pdf"])],
)
def test_a_command_lists_and_removes_its_own_files(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], command: str, listed: str, left: list[str]
) -> None:
    image = FileKind("image", "GIF")
    fake.chat.media = [MediaFile(name="a.gif", kind=image, content=b"GIF89a")]
    act_on(fake.chat, '/file paper.pdf "my notes.txt"')
    assert "paper.pdf with the next message" in capsys.readouterr().err

    act_on(fake.chat, command)
    assert listed in capsys.readouterr().err

    act_on(fake.chat, f"{command} off")
    assert [one.name for one in fake.chat.media] == left


def test_a_pdf_is_sent_and_stays_with_an_edited_message(fake: FakeChat) -> None:
    act_on(fake.chat, "/file paper.pdf")
    act_on(fake.chat, "Read it.")
    fake.composer.edited = lambda text: f"{text} Now!"

    act_on(fake.chat, "/edit")

    pdf = [base64.b64encode(b"%PDF-1.7\n").decode()]
    assert [body["messages"][0]["images"] for body in fake.client.bodies] == [pdf, pdf]
    assert fake.chat.media == []


def test_an_interrupt_while_files_are_counted_keeps_them_and_the_text(
    fake: FakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_model: str, _text: str) -> int:
        raise KeyboardInterrupt

    act_on(fake.chat, "/file paper.pdf")
    monkeypatch.setattr(fake.client, "num_tokens", interrupt)
    act_on(fake.chat, "Explain @src/a.py.")
    monkeypatch.undo()

    assert fake.client.bodies == []
    assert fake.chat.draft == "Explain @src/a.py."
    assert [one.name for one in fake.chat.media] == ["paper.pdf"]


def test_files_that_are_too_large_together_are_refused(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_media, "MAX_MESSAGE_BYTES", 10)
    act_on(fake.chat, "/file paper.pdf")
    capsys.readouterr()

    act_on(fake.chat, "/file paper.pdf")
    act_on(fake.chat, "Read @paper.pdf too.")

    assert capsys.readouterr().err.count("the media of the message have 18 B") == 2
    assert fake.client.bodies == []
    assert len(fake.chat.media) == 1


def test_the_oldest_images_that_no_request_takes_are_left_out_and_noted(
    fake: FakeChat, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_media, "MAX_CHARACTERS", 20)
    act_on(fake.chat, "/file paper.pdf")
    act_on(fake.chat, "Read it.")
    act_on(fake.chat, "/file paper.pdf")
    capsys.readouterr()

    act_on(fake.chat, "And this one.")

    sent = fake.client.bodies[-1]["messages"]
    assert [len(one.get("images", ())) for one in sent] == [0, 0, 1]
    assert "1 image of older messages left out: a request takes 23.1 MB" in capsys.readouterr().err
    assert len(fake.chat.session.messages[0]["images"]) == 1


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
    act_on(fake.chat, "hear @note.wav")

    assert "guide:latest has no capability for them" in capsys.readouterr().err
    assert fake.client.bodies == []
    assert fake.chat.draft == "hear @note.wav"
    assert len(fake.chat.documents) == 1


def test_a_path_of_a_sound_is_sent_as_text_and_noted(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.client.answers = [pieces("No.")]

    act_on(fake.chat, "Do you hear ./note.wav?")

    assert "(not attached: ./note.wav: sounds cannot be sent" in capsys.readouterr().err
    assert fake.sent == [("user", "Do you hear ./note.wav?")]


def test_a_file_that_takes_most_of_the_context_is_warned_about(
    fake: FakeChat, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.client.context = 10
    act_on(fake.chat, "/model guide")

    act_on(fake.chat, '/file "my notes.txt"')

    assert "the context has 10 tokens, and the 1 file 7" in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["/file gone.txt", "/file note.wav", "/image note.wav"])
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
    fake.composer.edited = lambda text: f"{text} @note.wav"

    act_on(fake.chat, "/edit")

    assert fake.conversation == [("user", "Hello"), ("assistant", "Hello.")]
    assert fake.chat.draft == "Hello @note.wav"
