"""Input of a batch: a file of records, found by their places and never held as a whole.

    openai   {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {…}}
    jsonl    {"text": "a record with fields", "id": 7}
    text     a prompt in each line
    csv      a line of names, then records; a field in quotes may have several lines
    tsv      the same with tabs

Empty lines are no records. Invariant: a record costs 8 bytes of memory, however long it is.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
from array import array
from enum import StrEnum
from typing import TYPE_CHECKING, Any, BinaryIO

from localrun.errors import StorageError, UsageError
from localrun.system.files import read_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_RECORD_BYTES = 32 * 1024 * 1024
MAX_RECORDS = 10_000_000
BOM = b"\xef\xbb\xbf"
TEXT_FIELD = "text"  # of a plain line


class InputFormat(StrEnum):
    """Formats of an input file."""

    OPENAI = "openai"
    JSONL = "jsonl"
    TEXT = "text"
    CSV = "csv"
    TSV = "tsv"

    @property
    def delimiter(self) -> str | None:
        """Return what separates the fields of a table."""
        return {InputFormat.CSV: ",", InputFormat.TSV: "\t"}.get(self)


class InputFile:
    """An open input file; `fields` may be called by any thread."""

    def __init__(self, path: Path, given: InputFormat | None, *, name: str) -> None:
        """Find the places of all records; ``name`` is what messages call the file.

        Raises:
            UsageError: it has no records, too many, one that is too long, or no line of names.
            StorageError: it cannot be read.
        """
        self.name = name
        self._offsets = array("Q")  # of the records, then of the end
        self.columns: tuple[str, ...] = ()
        try:
            self._file = path.open("rb")
            try:
                self.format = given or self._detected(path)
                self.digest = self._scan()
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise StorageError(f"{name} cannot be read: {error.strerror}") from error

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def fields(self, index: int) -> dict[str, Any]:
        """Return the fields of a record, counted from 0.

        Raises:
            UsageError: the record is not one of the file's format.
        """
        try:
            text = self._record(index).decode()
        except UnicodeDecodeError as error:
            raise UsageError("the line is not UTF-8") from error
        if self.format is InputFormat.TEXT:
            return {TEXT_FIELD: text.partition("\n")[0].rstrip("\r")}  # empty lines may follow
        if self.format.delimiter is not None:
            return self._row(text)
        return _object(text)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _record(self, index: int) -> bytes:
        begin, end = self._offsets[index], self._offsets[index + 1]
        content = bytearray(end - begin)
        view, num_read = memoryview(content), 0
        while num_read < len(content):
            num = read_at(self._file.fileno(), view[num_read:], begin + num_read)
            if not num:
                raise StorageError(f"{self.name} has become shorter")
            num_read += num
        return bytes(content)

    def _detected(self, path: Path) -> InputFormat:
        """Return the format by the name of the file and its first record."""
        by_suffix = {".csv": InputFormat.CSV, ".tsv": InputFormat.TSV}
        if path.suffix.lower() in by_suffix:
            return by_suffix[path.suffix.lower()]
        first = b""
        while not first.strip():
            first = self._file.readline(MAX_RECORD_BYTES)
            if not first:
                break
        self._file.seek(0)
        try:
            record = json.loads(first)
        except (ValueError, RecursionError):
            return InputFormat.TEXT
        if not isinstance(record, dict):
            return InputFormat.TEXT
        is_openai = "custom_id" in record and "body" in record
        return InputFormat.OPENAI if is_openai else InputFormat.JSONL

    def _scan(self) -> str:
        """Find the places of the records; return the digest of the file."""
        digest, position = hashlib.sha256(), 0
        if self._file.read(len(BOM)) == BOM:
            position = len(BOM)
        self._file.seek(position)
        while record := self._next_record():
            digest.update(record)
            if record.strip():
                self._add(record, position)
            position += len(record)
            if len(self._offsets) > MAX_RECORDS:
                raise UsageError(f"{self.name} has more than {MAX_RECORDS} records")
        if not self._offsets:
            raise UsageError(f"{self.name} has no records")
        self._offsets.append(position)
        return digest.hexdigest()

    def _next_record(self) -> bytes:
        """Return the next line, or the lines of a record with line ends in quotes."""
        record = self._file.readline(MAX_RECORD_BYTES + 1)
        if self.format.delimiter is not None and b'"' in record:
            record = self._whole_row(record)
        if len(record) > MAX_RECORD_BYTES:
            where = f"{self.name}, record {len(self._offsets) + 1}"
            raise UsageError(f"{where}: it has more than {MAX_RECORD_BYTES} bytes")
        return record

    def _whole_row(self, line: bytes) -> bytes:
        """Return a line with those that a field in quotes goes on with.

        The reader of rows itself says where the row ends: a quote within a field opens nothing.
        """
        lines: list[bytes] = []

        def taken() -> Iterator[str]:
            size, content = 0, line
            while content:
                lines.append(content)
                size += len(content)
                yield content.decode("latin-1")  # each byte is a character; rows end alike
                if size > MAX_RECORD_BYTES:
                    return
                content = self._file.readline(MAX_RECORD_BYTES + 1)

        with contextlib.suppress(csv.Error):  # the record is reported when it is read
            next(_rows(taken(), self.format), None)
        return b"".join(lines)

    def _add(self, record: bytes, position: int) -> None:
        if self.format.delimiter is None or self.columns:
            self._offsets.append(position)
            return
        try:
            self.columns = tuple(_values(record.decode(), self.format))
        except (UnicodeDecodeError, csv.Error) as error:
            raise UsageError(f"{self.name}: the line of names cannot be read: {error}") from error
        if len(set(self.columns)) < len(self.columns):
            raise UsageError(f"{self.name}: two columns have the same name")

    def _row(self, text: str) -> dict[str, Any]:
        try:
            values = _values(text, self.format)
        except csv.Error as error:
            raise UsageError(f"the record cannot be read: {error}") from error
        if len(values) != len(self.columns):
            raise UsageError(f"the record has {len(values)} fields, not {len(self.columns)}")
        return dict(zip(self.columns, values, strict=True))


def spooled(source: BinaryIO, folder: Path) -> Path:
    """Return a temporary file with all that a pipe holds; the caller deletes it.

    Raises:
        StorageError: it does not fit on the disk.
    """
    import shutil
    import tempfile

    descriptor, name = tempfile.mkstemp(prefix="localrun-batch-", dir=folder)
    path = type(folder)(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(source, file, 1024 * 1024)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StorageError(f"stdin cannot be kept in {folder}: {error.strerror}") from error
        raise
    return path


def _values(text: str, form: InputFormat) -> list[str]:
    return next(_rows(io.StringIO(text, newline="\n"), form), [])


def _rows(lines: Iterable[str], form: InputFormat) -> Iterator[list[str]]:
    if csv.field_size_limit() < MAX_RECORD_BYTES:  # of the whole process
        csv.field_size_limit(MAX_RECORD_BYTES)
    return csv.reader(lines, delimiter=form.delimiter or ",", strict=True)


def _object(text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the line is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise UsageError("the line is no JSON object")
    return record
