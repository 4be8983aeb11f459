"""The journal claims no byte that is not there."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.registry.transfer import journal as journal_module
from localrun.registry.transfer.journal import (
    DownloadState,
    FileVersion,
    HashCheckpoint,
    Journal,
    boot_id,
)
from localrun.registry.transfer.ranges import Ranges

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 1000
DATA = bytes(range(250)) * 4
FILE = FileVersion(size_bytes=SIZE, digest="sha256:1")
UNNAMED = FileVersion(size_bytes=SIZE, etag='"1"', url="https://hub/file")
HASHED = HashCheckpoint(
    length=128, state="00" * 32, num_checked=100, crc32=zlib.crc32(DATA[28:128])
)
MARK = DownloadState(Ranges([(0, 200), (300, 400)]), HASHED)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    (tmp_path / "data").write_bytes(DATA)
    return Journal(tmp_path)


def saved(journal: Journal, **changes: Any) -> Journal:
    """Write a journal whose JSON differs in some fields."""
    journal.save(FILE, MARK)
    path = journal.folder / "journal"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return journal


def intervals(journal: Journal) -> list[tuple[int, int]] | None:
    loaded = journal.load()
    return None if loaded is None else loaded[1].ranges.intervals()


def test_what_was_saved_is_loaded(journal: Journal) -> None:
    journal.save(FILE, MARK)

    loaded = journal.load()

    assert loaded is not None
    assert loaded[0] == FILE
    assert loaded[1].hashed == HASHED
    assert intervals(journal) == [(0, 200), (300, 400)]


def test_nothing_is_loaded_from_nothing(tmp_path: Path) -> None:
    assert Journal(tmp_path).load() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": 2},
        {"ranges": [[0, SIZE + 1]]},
        {"ranges": [[-1, 5]]},
        {"ranges": [[5, 5]]},
        {"ranges": [[0, float("inf")]]},
        {"ranges": 7},
        {"ranges": [[0, 100]]},  # less than was hashed
        {"file": {"name": "x"}},
        {"file": []},
        {"hashed": {"length": 64}},
        {"hashed": {"length": 64, "state": 5, "num_checked": 0, "crc32": 0}},
        {"hashed": {"length": 64, "state": "", "num_checked": 65, "crc32": 0}},
    ],
)
def test_a_journal_that_cannot_be_right_is_not_used(
    journal: Journal, changes: dict[str, Any]
) -> None:
    assert saved(journal, **changes).load() is None


@given(garbage=st.binary(max_size=60) | st.sampled_from([b"[]", b"{}", b"[" * 100_000, b"1e999"]))
def test_garbage_is_not_used(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    folder = tmp_path_factory.mktemp("partial")
    (folder / "data").write_bytes(DATA)
    (folder / "journal").write_bytes(garbage)

    assert Journal(folder).load() is None


def test_a_journal_of_a_strange_size_is_not_read(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_BYTES", 10)

    assert saved(journal).load() is None


def test_data_that_was_cut_short_is_not_trusted(journal: Journal) -> None:
    journal.save(FILE, MARK)

    with journal.data.open("r+b") as data:
        data.truncate(399)

    assert journal.load() is None


def test_torn_bytes_before_the_frontier_are_hashed_anew(journal: Journal) -> None:
    journal.save(FILE, MARK)
    journal.data.write_bytes(DATA[:127] + b"?" + DATA[128:])

    loaded = journal.load()

    assert loaded is not None
    assert loaded[1].hashed is None
    assert intervals(journal) == [(0, 200), (300, 400)]


def test_torn_bytes_are_dropped_when_no_digest_would_tell(journal: Journal) -> None:
    journal.save(UNNAMED, MARK)
    assert journal.load() is not None

    journal.data.write_bytes(bytes(SIZE))

    assert journal.load() is None


def test_after_a_crash_of_the_machine_only_fsynced_bytes_count(journal: Journal) -> None:
    journal.save_durable(FILE, DownloadState(Ranges([(0, 50)])))
    saved(journal)
    assert intervals(journal) == [(0, 200), (300, 400)]

    saved(journal, boot="another")

    assert intervals(journal) == [(0, 50)]


def test_a_journal_that_was_torn_gives_way_to_the_durable_one(journal: Journal) -> None:
    journal.save_durable(FILE, DownloadState(Ranges([(0, 50)])))
    (journal.folder / "journal").write_bytes(b"")

    assert intervals(journal) == [(0, 50)]


def test_to_clear_leaves_nothing(journal: Journal) -> None:
    saved(journal)
    journal.save_durable(FILE, MARK)
    (journal.folder / "journal.new").touch()

    journal.clear()

    assert list(journal.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (FILE, True),
        (FileVersion(size_bytes=SIZE, digest="sha256:1", etag="x", url="y"), True),
        (FileVersion(size_bytes=SIZE, digest="sha256:2"), False),
        (FileVersion(size_bytes=SIZE - 1, digest="sha256:1"), False),
        (UNNAMED, False),
    ],
)
def test_a_digest_and_a_size_name_a_file(other: FileVersion, *, is_same: bool) -> None:
    assert FILE.is_same_as(other) is is_same


def test_without_a_digest_everything_must_agree() -> None:
    assert UNNAMED.is_same_as(UNNAMED)
    assert not UNNAMED.is_same_as(FileVersion(size_bytes=SIZE, etag='"2"', url=UNNAMED.url))
    assert not FileVersion(size_bytes=1).is_same_as(FileVersion(size_bytes=1))


def test_where_no_boot_is_told_each_process_has_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(journal_module, "BOOT_ID", tmp_path / "none")

    assert boot_id.__wrapped__() != boot_id.__wrapped__()
