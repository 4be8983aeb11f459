"""Changes of a tool's files: what would be written, the writing, and the way back.

    ~/.local/state/localrun/connect/codex/undo.json      what was written, the last group at the end
    ~/.local/state/localrun/connect/codex/1-config.toml  a backup, readable by its owner alone

A group has the files of one command. A backup is on disk before its file is replaced. Invariant: a
file is restored only if it still has the content that was written.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.disk import storage_errors
from localrun.errors import IntegrityError, NotFoundError, UsageError
from localrun.integrations.files import (
    FileContent,
    digest_of,
    read_content,
    remove_content,
    replace_content,
)
from localrun.integrations.formats.documents import LARGEST, edited_document
from localrun.private import make_private_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localrun.integrations.tool import FileSettings

FORMAT_VERSION = 1
RECORD = "undo.json"
MOST_GROUPS = 50
LARGEST_RECORD = 1_000_000
LARGEST_FILE = max(LARGEST.values()) * 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A file with the text that it gets."""

    path: Path  # as the tool knows it, perhaps a link
    before: FileContent
    text: str

    @property
    def data(self) -> bytes:
        """Return the new content."""
        return self.before.encoded(self.text)

    @property
    def is_change(self) -> bool:
        """Return whether the file would differ."""
        return self.before.data != self.data

    def diff(self) -> str:
        """Return the difference as unified diff, "" if there is none."""
        lines = difflib.unified_diff(
            self.before.text.splitlines(keepends=True),
            self.text.splitlines(keepends=True),
            str(self.path) if self.before.data is not None else "/dev/null",
            str(self.path),
        )
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """A file that was restored; ``is_removed`` if it had not been there."""

    path: Path
    is_removed: bool


def planned_changes(settings: Sequence[FileSettings]) -> list[Change]:
    """Return the changes that connect a tool; nothing is written.

    Raises:
        UsageError: a file is malformed, too large, or has another form; the error names it.
        StorageError: a file cannot be read.
    """
    return [_planned(file) for file in settings]


def _planned(file: FileSettings) -> Change:
    before = read_content(file.path, LARGEST[file.format])
    try:
        text = edited_document(before.text, file.format, file.edits)
    except UsageError as error:
        raise UsageError(
            f"{file.path} is left as it is: {error.message}",
            hint="correct the file, or add the printed settings by hand",
        ) from error
    return Change(path=file.path, before=before, text=text)


class UndoLog:
    """The record of what was written for one tool."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, changes: Sequence[Change]) -> list[Path]:
        """Write changes; return the backups, in the order of the files that were there.

        Raises:
            StorageError: a file cannot be written; those before it in the list are.
            UsageError: a file was changed meanwhile.
        """
        groups = self._read()
        group: list[dict[str, Any]] = []
        backups = []
        with storage_errors(self._folder, hint=None):
            make_private_folder(self._folder)
            for change in changes:
                backup = self._kept(change)
                backups += [backup] if backup is not None else []
                group.append(_entry(change, backup))
        self._save([*groups, group][-MOST_GROUPS:])
        for change in changes:
            replace_content(change.before, change.data)
        return backups

    def undo(self) -> list[Undone]:
        """Restore the files of the last group.

        Raises:
            NotFoundError: nothing was written.
            UsageError: a file was changed since; the hint names the backup.
        """
        groups = self._read()
        contents = []
        while groups and not (contents := list(self._restorable(groups[-1]))):
            groups.pop()
        if not groups:
            raise NotFoundError("there is nothing to undo", hint="localrun connect list")
        undone = []
        for entry, now in contents:
            backup = self._backup_of(entry)
            if backup is None:
                remove_content(now)
            else:
                replace_content(now, backup)
            undone.append(Undone(path=Path(entry["path"]), is_removed=backup is None))
        self._save(groups[:-1])
        return undone

    def _restorable(
        self, group: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[dict[str, Any], FileContent]]:
        """Yield the entries that were written, with the files as they are now."""
        for entry in reversed(group):
            now = read_content(Path(entry["path"]), LARGEST_FILE)
            if now.digest == entry["before"]:
                continue  # it was never written, or is restored already
            if now.digest != entry["after"]:
                backup = self._folder / entry["backup"] if entry["backup"] else None
                raise UsageError(
                    f"{entry['path']} was changed since localrun wrote it, and is left as it is",
                    hint=f"compare it with {backup}, which is the file before"
                    if backup
                    else "remove the entries named localrun by hand",
                )
            yield entry, now

    def _backup_of(self, entry: dict[str, Any]) -> bytes | None:
        if not entry["backup"]:
            return None
        path = self._folder / entry["backup"]
        data = read_content(path, LARGEST_FILE).data
        if data is None or digest_of(data) != entry["before"]:
            raise IntegrityError(f"the backup {path} is missing or was changed")
        return data

    def _kept(self, change: Change) -> Path | None:
        """Keep the old content; return its path, None if there was no file."""
        if change.before.data is None:
            return None
        number = 1
        while (path := self._folder / f"{number}-{change.path.name}").exists():
            number += 1
        replace_content(FileContent(path=path, data=None), change.before.data)
        return path

    def _read(self) -> list[list[dict[str, Any]]]:
        path = self._folder / RECORD
        data = read_content(path, LARGEST_RECORD).data
        if data is None:
            return []
        try:
            record = json.loads(data)
            groups: list[list[dict[str, Any]]] = record["groups"]
            is_known = record["format_version"] == FORMAT_VERSION
            is_known = is_known and all(_is_entry(entry) for group in groups for entry in group)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise IntegrityError(f"{path} is damaged", hint=f"rm {path}") from error
        if not is_known:
            raise IntegrityError(
                f"{path} was written by another version", hint="use that version to undo"
            )
        return groups

    def _save(self, groups: Sequence[Sequence[dict[str, Any]]]) -> None:
        record = {"format_version": FORMAT_VERSION, "groups": groups}
        data = json.dumps(record, indent=2, sort_keys=True).encode()
        before = read_content(self._folder / RECORD, LARGEST_RECORD)
        replace_content(before, data)


def _entry(change: Change, backup: Path | None) -> dict[str, Any]:
    return {
        "path": str(change.path),
        "backup": backup.name if backup is not None else None,
        "before": change.before.digest,
        "after": digest_of(change.data),
    }


def _is_entry(entry: dict[str, Any]) -> bool:
    """Return whether an entry names files and digests; a backup is in the folder itself."""
    texts = (entry["path"], entry["after"])
    backup = entry["backup"]
    is_inside = backup is None or (isinstance(backup, str) and Path(backup).name == backup)
    return is_inside and all(isinstance(text, str) for text in texts) and "before" in entry
