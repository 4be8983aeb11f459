from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.prompt.history import (
    MAX_ENTRY_BYTES,
    MAX_FILE_BYTES,
    append_history,
    read_history,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history"


def test_messages_come_back_in_their_order_with_their_lines(file: Path) -> None:
    for text in ("one", "two\nlines", "日本語 👩‍👩‍👧 \x1b[31m"):
        append_history(file, text)

    assert read_history(file) == ["one", "two\nlines", "日本語 👩‍👩‍👧 \x1b[31m"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has access lists in place of modes")
def test_only_the_user_can_read_it(file: Path) -> None:
    append_history(file, "secret")

    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    append_history(file, "again")
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", [" a password", "", "   \n", "x" * MAX_ENTRY_BYTES])
def test_secrets_blanks_and_giants_are_not_kept(file: Path, text: str) -> None:
    append_history(file, text)

    assert not file.exists()


def test_damaged_lines_are_skipped(file: Path) -> None:
    append_history(file, "one")
    with file.open("ab") as damaged:
        damaged.write(b'{"a": 1}\n\xff\xfe\n[[[[\n7\n"cut')
    append_history(file, "two")

    assert read_history(file) == ["one", "two"]


def test_a_large_file_keeps_its_newer_half(file: Path) -> None:
    file.parent.mkdir()
    lines = [json.dumps(f"{number:06} {'x' * 90}") for number in range(MAX_FILE_BYTES // 90)]
    file.write_text("\n".join(lines) + "\n")

    append_history(file, "the newest")

    assert file.stat().st_size <= MAX_FILE_BYTES // 2
    kept = read_history(file)
    assert kept[-1] == "the newest"
    assert kept[-2] == json.loads(lines[-1])


def test_chats_that_append_at_once_lose_nothing(file: Path) -> None:
    def write(name: str) -> None:
        for number in range(50):
            append_history(file, f"{name} {number}")

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert sorted(read_history(file)) == sorted(f"{n} {i}" for n in "abcd" for i in range(50))


def test_a_history_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")

    append_history(file / "history", "one")

    assert read_history(file / "history") == []
