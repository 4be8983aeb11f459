"""Files that a message takes along."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.attaching.documents import (
    MAX_TEXT,
    MediaFile,
    TextDocument,
    file_kind,
    read_file,
)
from localrun.errors import NotFoundError, UsageError
from tests.unix_calls import make_pipe

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_decoded_by_its_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes("Grüße, 世界\r\n".encode(encoding))

    document = read_file(path, "notes.txt")

    assert document == TextDocument(name="notes.txt", text="Grüße, 世界\n")


def test_another_encoding_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes("Grüße".encode("latin-1"))

    with pytest.raises(UsageError, match=r"^old\.txt is neither UTF-8"):
        read_file(path, "old.txt")


def test_an_image_is_known_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "photo.txt"
    path.write_bytes(b"\xff\xd8\xff\xe0 data")

    media = read_file(path, "photo.txt")

    assert isinstance(media, MediaFile)
    assert media.kind.kind == "image"
    assert media.content == path.read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\0\0", "binary file"),
        (b"x" * (MAX_TEXT + 1), "larger than 2.1 MB"),
    ],
)
def test_what_cannot_be_read_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)

    with pytest.raises(UsageError, match=f"^file is .*{message}"):
        read_file(path, "file")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="gone: no such file"):
        read_file(tmp_path / "gone", "gone")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    make_pipe(tmp_path / "pipe")

    with pytest.raises(UsageError, match="no regular file"):
        read_file(tmp_path / "pipe", "pipe")
    assert file_kind(tmp_path / "pipe") is None
    assert file_kind(tmp_path) is None


@pytest.mark.parametrize("text", ["a\n", "a", "", "```\ncode\n```\n", "`" * 1_000_000])
def test_no_text_ends_its_own_fence(text: str) -> None:
    lines = TextDocument(name="notes.md", text=text).block.split("\n")

    assert lines[0] == "File notes.md:"
    assert lines[1] == lines[-1]
    assert all(line != lines[1] for line in lines[2:-1])
