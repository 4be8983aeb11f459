from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from localrun.errors import IntegrityError, NotFoundError, UsageError
from localrun.integrations.changes import RECORD, UndoLog, planned_changes
from localrun.integrations.edits import Edit
from localrun.integrations.tool import FileSettings

if TYPE_CHECKING:
    from pathlib import Path


def settings(path: Path, value: int) -> FileSettings:
    return FileSettings(path=path, edits=(Edit(path=("a",), value=value),))


def write(log: UndoLog, *files: FileSettings) -> list[Path]:
    return log.write(planned_changes(files))


@pytest.fixture
def log(tmp_path: Path) -> UndoLog:
    return UndoLog(tmp_path / "state" / "codex")


def test_the_difference_names_the_file_and_the_lines(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"a": 1}')

    (change,) = planned_changes([settings(tmp_path / "x", 2)])

    assert change.is_change
    assert '-{"a": 1}\n+{"a": 2}\n' in change.diff()
    assert change.diff().startswith(f"--- {tmp_path / 'x'}\n")


def test_undo_restores_every_byte_and_removes_what_was_new(tmp_path: Path, log: UndoLog) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b'\xef\xbb\xbf{\r\n"a": 1 /* x */\r\n}')
    content = old.read_bytes()
    write(log, settings(old, 2), settings(new, 2))

    undone = log.undo()

    assert old.read_bytes() == content
    assert not new.exists()
    assert {(file.path, file.is_removed) for file in undone} == {(old, False), (new, True)}
    with pytest.raises(NotFoundError):
        log.undo()


def test_undo_goes_back_one_write_at_a_time(tmp_path: Path, log: UndoLog) -> None:
    path = tmp_path / "x"
    path.write_text('{"a": 1}')
    write(log, settings(path, 2))
    write(log, settings(path, 3))

    log.undo()
    between = path.read_text()
    log.undo()

    assert (between, path.read_text()) == ('{"a": 2}', '{"a": 1}')


def test_a_file_that_was_changed_since_is_left(tmp_path: Path, log: UndoLog) -> None:
    path = tmp_path / "x"
    path.write_text('{"a": 1}')
    (backup,) = write(log, settings(path, 2))
    path.write_text('{"a": 2, "mine": true}')

    with pytest.raises(UsageError, match="changed since") as caught:
        log.undo()

    assert str(backup) in (caught.value.hint or "")
    assert path.read_text() == '{"a": 2, "mine": true}'
    assert backup.read_text() == '{"a": 1}'


def test_nothing_of_a_group_is_restored_if_one_file_was_changed(
    tmp_path: Path, log: UndoLog
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(log, settings(one, 2), settings(two, 2))
    one.write_text("mine")

    with pytest.raises(UsageError):
        log.undo()

    assert two.exists()


def test_a_write_that_was_cut_off_needs_no_undo(tmp_path: Path, log: UndoLog) -> None:
    """The record is on disk before the file: killed between, the file is as before."""
    path = tmp_path / "x"
    path.write_text('{"a": 1}')
    write(log, settings(path, 2))
    path.write_text('{"a": 1}')

    with pytest.raises(NotFoundError):
        log.undo()


@pytest.mark.skipif(sys.platform == "win32", reason="modes of Unix")
def test_backups_are_private(tmp_path: Path, log: UndoLog) -> None:
    path = tmp_path / "x"
    path.write_text('{"key": "secret"}')

    (backup,) = write(log, settings(path, 2))

    assert backup.stat().st_mode & 0o777 == 0o600
    assert backup.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "record",
    [
        "no json",
        "[]",
        '{"format_version": 1}',
        '{"format_version": 9, "groups": []}',
        '{"format_version": 1, "groups": [[{"path": 1, "backup": null, "before": 0, "after": 0}]]}',
        json.dumps({
            "format_version": 1,
            "groups": [[{"path": "/x", "backup": "../../y", "before": None, "after": "z"}]],
        }),
    ],
)  # fmt: skip
def test_a_damaged_record_is_an_error(tmp_path: Path, log: UndoLog, record: str) -> None:
    folder = tmp_path / "state" / "codex"
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(record)

    with pytest.raises(IntegrityError):
        log.undo()


def test_a_changed_backup_is_not_restored(tmp_path: Path, log: UndoLog) -> None:
    path = tmp_path / "x"
    path.write_text('{"a": 1}')
    (backup,) = write(log, settings(path, 2))
    backup.write_text("other")

    with pytest.raises(IntegrityError):
        log.undo()

    assert json.loads(path.read_text()) == {"a": 2}


def test_a_malformed_file_is_named_and_left(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text('{"a": ')

    with pytest.raises(UsageError, match=f"{path} is left as it is: line 1"):
        planned_changes([settings(path, 1)])
