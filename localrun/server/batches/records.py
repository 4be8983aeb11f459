"""Records on disk: one small JSON file each, named by its id.

    file-3f0c….json     {"format_version": 1, "id": "file-3f0c…", "created_at": 1790000000, …}

A record is replaced as a whole, so that a reader sees the old one or the new one. Invariant: a
name that is not an id of this folder is never made into a path.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING

from localrun.disk import remove_abandoned, storage_errors, temporary_beside
from localrun.private import make_private_folder, open_private
from localrun.system.files import replace_file, sync_file

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.runner.messages import JsonObject

FORMAT_VERSION = 1
ID_BYTES = 12
MAX_RECORD_BYTES = 1024 * 1024
SUFFIX = ".json"


class RecordFolder:
    """Records whose ids begin with ``prefix``; all methods block."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self.folder = folder
        self._prefix = prefix
        self._valid = re.compile(f"{re.escape(prefix)}[0-9a-f]{{{2 * ID_BYTES}}}")

    def new_id(self) -> str:
        """Return an id that no record has."""
        return self._prefix + secrets.token_hex(ID_BYTES)

    def path(self, record_id: str, suffix: str) -> Path:
        """Return the path of a file of a record.

        Raises:
            ValueError: it is not an id.
        """
        if not self._valid.fullmatch(record_id):
            raise ValueError(f"{record_id!r} is no id of {self.folder.name}")
        return self.folder / f"{record_id}{suffix}"

    def ids(self) -> list[str]:
        """Return the ids of all records."""
        names = [path.stem for path in self.folder.glob(f"{self._prefix}*{SUFFIX}")]
        return [name for name in names if self._valid.fullmatch(name)]

    def read(self, record_id: str) -> JsonObject | None:
        """Return a record, None if there is none that can be read."""
        if not self._valid.fullmatch(record_id):
            return None
        try:
            with self.path(record_id, SUFFIX).open("rb") as file:
                record = json.loads(file.read(MAX_RECORD_BYTES))
        except (OSError, ValueError):
            return None
        is_known = isinstance(record, dict) and record.get("format_version") == FORMAT_VERSION
        return record if is_known and record.get("id") == record_id else None

    def write(self, record: JsonObject) -> None:
        """Write a record with its ``id``, durably.

        Raises:
            StorageError: it cannot be written.
        """
        path = self.path(record["id"], SUFFIX)
        temporary = temporary_beside(path)
        with storage_errors(path):
            make_private_folder(self.folder)
            with open(temporary, "w", opener=open_private, encoding="utf-8") as file:
                json.dump({"format_version": FORMAT_VERSION, **record}, file)
            sync_file(temporary)
            replace_file(temporary, path)

    def remove(self, record_id: str, *suffixes: str) -> None:
        """Remove a record and then its other files."""
        for suffix in (SUFFIX, *suffixes):
            self.path(record_id, suffix).unlink(missing_ok=True)

    def remove_abandoned(self) -> None:
        """Remove what processes that have ended left of a write."""
        for record_id in self.ids():
            remove_abandoned(self.path(record_id, SUFFIX))
