"""What is remembered of the last chat."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.remembered import LastChat, read_last_chat, remember_chat

if TYPE_CHECKING:
    from pathlib import Path

LAST = LastChat(model="guide:latest", settings={"sampling": {"seed": 1}}, chat_id="1a2b3c4d")


def test_the_last_chat_is_read_as_it_was_remembered(tmp_path: Path) -> None:
    path = tmp_path / "new" / "chat.json"

    remember_chat(LAST, path)

    assert read_last_chat(path) == LAST
    assert [one.name for one in path.parent.iterdir()] == ["chat.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "chat.json"

    remember_chat(LAST, path)

    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        json.dumps({"format_version": 2, "model": "guide"}).encode(),
        json.dumps({"format_version": 1, "model": 7}).encode(),
    ],
)
def test_a_damaged_file_is_nothing_remembered(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "chat.json"
    path.write_bytes(content)

    assert read_last_chat(path) is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    remember_chat(LAST, tmp_path / "file" / "chat.json")

    assert read_last_chat(tmp_path / "file" / "chat.json") is None
