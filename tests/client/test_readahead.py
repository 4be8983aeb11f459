"""Reading of files into the page cache."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from localrun.client import readahead
from localrun.client.readahead import PART_BYTES, begin_reading
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

Part = tuple[int, int]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """Return what the system is asked to read: offset and length."""
    parts: list[Part] = []
    monkeypatch.setattr(readahead, "read_soon", lambda _, *part: parts.append(part))
    return parts


def read(*files: Path) -> None:
    thread = begin_reading(files)
    assert thread is not None
    thread.join(HANG_S)


@pytest.fixture
def nothing_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    def preadv(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "not in the page cache")

    monkeypatch.setattr(os, "preadv", preadv)


@pytest.mark.usefixtures("nothing_cached")
def test_a_file_is_read_in_parts(tmp_path: Path, asked: list[Part]) -> None:
    file = tmp_path / "model.gguf"
    with file.open("wb") as opened:
        opened.truncate(PART_BYTES + 1)

    read(file)

    assert asked == [(0, PART_BYTES), (PART_BYTES, PART_BYTES)]


def test_a_part_that_is_in_memory_is_not_read_again(
    tmp_path: Path, asked: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "preadv", lambda *_: 1)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"just written")

    read(file)

    assert asked == []


@pytest.mark.usefixtures("nothing_cached")
def test_files_that_do_not_fit_into_the_memory_are_left_alone(
    tmp_path: Path, asked: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.gguf").write_bytes(b"x" * 2000)
    monkeypatch.setattr(readahead, "MEMINFO", tmp_path / "meminfo")

    for text in ("MemAvailable:    1 kB\n", "MemTotal: 9999 kB\n"):
        (tmp_path / "meminfo").write_text(text)
        assert begin_reading([tmp_path / "model.gguf"]) is None

    assert asked == []


def test_a_file_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert begin_reading([tmp_path / "gone.gguf"]) is None
    assert begin_reading([]) is None
