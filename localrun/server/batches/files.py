"""Files of ``/v1/files``: contents and their records, each readable by its owner's requests alone.

file-….json   the record, written last: a file without one does not exist
file-….data   the content
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO

from localrun.disk import storage_errors, temporary_beside, write_all
from localrun.errors import NotFoundError
from localrun.private import make_private_folder, open_private
from localrun.server.batches.records import RecordFolder
from localrun.system.files import replace_file, sync_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from localrun.runner.messages import JsonObject

DATA = ".data"
PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """What is known of a file; times are seconds since 1970."""

    id: str
    filename: str
    purpose: str  # "batch", or "batch_output"
    bytes: int
    created_at: int
    expires_at: int | None = None
    owner: str = ""  # the client whose requests may use it; "" on a server without API keys

    def to_json(self) -> JsonObject:
        """Return OpenAI's file object."""
        fields = asdict(self)
        del fields["owner"]
        return {"object": "file", **fields, "status": "processed"}


class FileStore:
    """Files in a folder; all methods block."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._records = RecordFolder(folder, "file-")
        self._clock = clock

    def add(
        self,
        source: BinaryIO,
        *,
        filename: str,
        purpose: str,
        owner: str,
        expires_after_s: int | None = None,
    ) -> FileRecord:
        """Keep a copy of an open file.

        Raises:
            StorageError: it cannot be written; nothing is kept.
        """
        record_id = self._records.new_id()
        path = self._records.path(record_id, DATA)
        temporary = temporary_beside(path)
        try:
            with storage_errors(path):
                make_private_folder(path.parent)
                num_bytes = _copied(source, temporary)
                replace_file(temporary, path)
            now = int(self._clock())
            record = FileRecord(
                id=record_id,
                filename=filename,
                purpose=purpose,
                bytes=num_bytes,
                created_at=now,
                expires_at=None if expires_after_s is None else now + expires_after_s,
                owner=owner,
            )
            self._records.write(asdict(record))
        except BaseException:
            temporary.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise
        return record

    def find(self, file_id: str, owner: str) -> FileRecord:
        """Return a file.

        Raises:
            NotFoundError: there is none of this id, or it is another owner's.
        """
        found = self._records.read(file_id)
        record = None if found is None else _record(found)
        if record is None or record.owner != owner or self._has_expired(record):
            raise NotFoundError(f"there is no file {file_id[:80]!r}", hint="GET /v1/files")
        return record

    def owned_by(self, owner: str, purpose: str | None = None) -> list[FileRecord]:
        """Return the files of an owner, the newest first."""
        found = [
            record
            for record in self._all()
            if record.owner == owner and not self._has_expired(record)
        ]
        of_purpose = [record for record in found if purpose in {None, record.purpose}]
        return sorted(of_purpose, key=lambda record: (record.created_at, record.id), reverse=True)

    def content(self, record: FileRecord) -> Path:
        """Return the path of a file's content."""
        return self._records.path(record.id, DATA)

    def remove(self, record: FileRecord) -> None:
        """Remove a file."""
        self._records.remove(record.id, DATA)

    def clean(self) -> None:
        """Remove files that have expired, and what ended processes left."""
        self._records.remove_abandoned()
        for record in self._all():
            if self._has_expired(record):
                self.remove(record)

    def _all(self) -> list[FileRecord]:
        found = [self._records.read(record_id) for record_id in self._records.ids()]
        records = [_record(fields) for fields in found if fields is not None]
        return [record for record in records if record is not None]

    def _has_expired(self, record: FileRecord) -> bool:
        return record.expires_at is not None and record.expires_at <= self._clock()


def _copied(source: BinaryIO, target: Path) -> int:
    """Copy a file durably; return its size."""
    num_bytes = 0
    with open(target, "wb", buffering=0, opener=open_private) as file:
        while piece := source.read(PIECE_BYTES):
            write_all(file, piece)
            num_bytes += len(piece)
    sync_file(target)
    return num_bytes


def _record(fields: JsonObject) -> FileRecord | None:
    """Return the record of a file, None if it is not one of this version."""
    try:
        return FileRecord(**{key: fields[key] for key in FileRecord.__dataclass_fields__})
    except (KeyError, TypeError):
        return None
