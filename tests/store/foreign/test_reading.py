"""Looking at files that belong to others."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from localrun.store.foreign.reading import (
    LARGEST_TEXT,
    files_below,
    is_folder,
    list_folder,
    look_at,
    newest_folders,
    read_json,
    read_text,
)
from tests.store.foreign.layouts import write
from tests.unix_calls import make_pipe

if TYPE_CHECKING:
    from pathlib import Path

LOGGER = "localrun.store.foreign.reading"


def loop(path: Path) -> Path:
    path.symlink_to(path)
    return path


def test_a_folder_that_is_not_there_is_empty_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert list_folder(tmp_path / "none") == files_below(tmp_path / "none") == []
    assert list_folder(write(tmp_path / "file")) == []
    assert caplog.records == []


@pytest.mark.parametrize("listing", [list_folder, files_below])
def test_a_folder_that_cannot_be_read_is_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, listing: type
) -> None:
    assert listing(loop(tmp_path / "loop")) == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_name_that_no_file_can_have_is_no_file(tmp_path: Path) -> None:
    assert list_folder(tmp_path / "a\0b") == []
    assert look_at(tmp_path / "a\0b", "other") is None
    assert not is_folder(tmp_path / "a\0b")


def test_the_walk_does_not_enter_linked_folders(tmp_path: Path) -> None:
    file = write(tmp_path / "a" / "b" / "file")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)

    assert files_below(tmp_path) == [file]


def test_the_newest_folder_comes_first(tmp_path: Path) -> None:
    for name, seconds in (("old", 1), ("new", 3), ("middle", 2)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (seconds, seconds))
    write(tmp_path / "file")
    loop(tmp_path / "loop")

    assert [path.name for path in newest_folders(tmp_path)] == ["new", "middle", "old"]


def test_a_file_is_shown_as_it_is_behind_its_links(tmp_path: Path) -> None:
    file = write(tmp_path / "blobs" / "x", b"12345")
    (tmp_path / "link").symlink_to(file)

    found = look_at(tmp_path / "link", "license")

    assert found is not None
    assert (found.path, found.name, found.size_bytes) == (file.resolve(), "link", 5)
    assert (found.role, found.digest) == ("license", None)


def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    make_pipe(tmp_path / "pipe")  # to open it would block
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")

    for path in (tmp_path, tmp_path / "pipe", tmp_path / "gone", loop(tmp_path / "loop")):
        assert look_at(path, "other") is None
        assert read_text(path) is None
        assert read_json(path) == {}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no JSON",
        "[1, 2]",
        "null",
        b"\xff\xfe{}",
        "[" * 1_000_000,
        '{"n": ' + "1" * 10_000 + "}",
        '{"pad": "' + "x" * LARGEST_TEXT + '"}',
    ],
    ids=["empty", "text", "list", "null", "bytes", "deep", "number", "large"],
)
def test_json_of_another_shape_is_an_empty_object(tmp_path: Path, content: bytes | str) -> None:
    assert read_json(write(tmp_path / "file.json", content)) == {}


def test_a_text_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    assert read_text(write(tmp_path / "most", "x" * LARGEST_TEXT)) == "x" * LARGEST_TEXT
    assert read_text(write(tmp_path / "more", "x" * (LARGEST_TEXT + 1))) is None


def test_a_file_without_permission_reads_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "file.json", "{}")

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(type(path), "open", refuse)  # the mode says nothing to root

    assert read_text(path) is None
