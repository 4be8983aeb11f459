"""Attachments of a message."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.attaching.attachments import (
    AttachmentRules,
    attach,
    read_files,
    read_media,
)
from localrun.cli.chatting.attaching.request_media import MAX_MEDIA
from localrun.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

JPEG = b"\xff\xd8\xff\xe0 data"


@pytest.fixture
def rules(tmp_path: Path) -> AttachmentRules:
    (tmp_path / "photo.jpg").write_bytes(JPEG)
    (tmp_path / "drawn").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "voice.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    (tmp_path / "notes.txt").write_text("Buy bread.\n")
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("a = 1\n")
    (tmp_path / "src" / "b.py").write_text("b = 2\n")
    return AttachmentRules(folder=tmp_path, accepts=lambda: ("image", "sound"))


def with_answer(rules: AttachmentRules, *, is_yes: bool) -> tuple[AttachmentRules, list[str]]:
    questions: list[str] = []

    def confirm(question: str) -> bool:
        questions.append(question)
        return is_yes

    return AttachmentRules(folder=rules.folder, accepts=tuple, confirm=confirm), questions


def test_images_and_sounds_are_attached_where_their_path_stands(rules: AttachmentRules) -> None:
    attached = attach("compare ./drawn, photo.jpg and voice.wav", rules)

    assert (
        attached.text == "compare [image 1: drawn], [image 2: photo.jpg] and [sound 1: voice.wav]"
    )
    message = attached.message()
    assert message["typed"] == "compare ./drawn, photo.jpg and voice.wav"
    assert message["attachments"] == ["./drawn", "photo.jpg", "voice.wav"]
    images = message["images"]
    assert isinstance(images, list)
    assert base64.b64decode(images[1]) == JPEG


def test_a_path_that_occurs_twice_is_attached_once(rules: AttachmentRules) -> None:
    attached = attach(f"photo.jpg is {rules.folder / 'photo.jpg'}", rules)

    assert attached.text == "[image 1: photo.jpg] is [image 1: photo.jpg]"
    assert len(attached.media) == 1


def test_a_marked_document_comes_before_the_message(rules: AttachmentRules) -> None:
    attached = attach("sum up @notes.txt.", rules)

    assert attached.content == (
        "File notes.txt:\n```\nBuy bread.\n```\n\nsum up [file 1: notes.txt]."
    )


def test_an_unmarked_document_is_text(rules: AttachmentRules) -> None:
    text = "what do ./notes.txt and ./report.pdf and ./src have in common? /help"

    attached = attach(text, rules)

    assert attached.message() == {"role": "user", "content": text}


def test_a_path_of_an_image_stays_if_the_model_does_not_see(rules: AttachmentRules) -> None:
    blind = AttachmentRules(folder=rules.folder)

    attached = attach("resize photo.jpg", blind)

    assert attached.content == "resize photo.jpg"
    assert attached.notes == (
        "not attached: photo.jpg: images cannot be sent, the model takes none",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@photo.jpg", "images cannot be sent, the model takes none"),
        ("/x @voice.wav", "sounds cannot be sent"),
    ],
)
def test_a_marked_file_that_cannot_be_attached_is_refused(
    rules: AttachmentRules, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        attach(text, AttachmentRules(folder=rules.folder))


def test_a_folder_is_confirmed_first(rules: AttachmentRules) -> None:
    asking, questions = with_answer(rules, is_yes=True)

    attached = attach("explain @src/", asking)

    assert questions == ["Add 2 files (12 B)?"]
    assert attached.text == "explain [2 files: src/]"
    assert attached.names == ("src/a.py", "src/b.py")


def test_a_folder_that_is_declined_stays_text(rules: AttachmentRules) -> None:
    asking, _ = with_answer(rules, is_yes=False)

    assert attach("explain @src", asking).content == "explain @src"


def test_documents_are_read_from_files_and_globs(rules: AttachmentRules) -> None:
    asking, questions = with_answer(rules, is_yes=True)

    documents = read_files(["notes.txt", "src/*.py"], asking).documents

    assert [one.name for one in documents] == ["notes.txt", "src/a.py", "src/b.py"]
    assert questions == ["Add 2 files (12 B)?"]
    assert attach("go", asking, documents).content.endswith("b = 2\n```\n\ngo")


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [("photo.jpg", UsageError, "is no text"), ("gone.txt", NotFoundError, "no such file")],
)
def test_a_document_that_cannot_be_read_is_refused(
    rules: AttachmentRules, path: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        read_files([path], rules)


def test_an_image_by_its_path(rules: AttachmentRules) -> None:
    assert read_media("photo.jpg", rules).content == JPEG
    with pytest.raises(UsageError, match="is text"):
        read_media("notes.txt", rules)


def test_the_number_of_images_is_bounded(rules: AttachmentRules) -> None:
    for number in range(MAX_MEDIA + 1):
        (rules.folder / f"{number}.jpg").write_bytes(JPEG)

    attached = attach(" ".join(f"{number}.jpg" for number in range(MAX_MEDIA + 1)), rules)

    assert len(attached.media) == MAX_MEDIA
    (note,) = attached.notes
    assert note == f"not attached: a message has at most {MAX_MEDIA} images, sounds and PDF files"
