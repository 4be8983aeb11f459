"""BatchJournal of a batch: which records are done, and lines that wait for those before them.

    answers.jsonl             the output: lines in the order of the input, or as they come
    answers.jsonl.progress    the journal, deleted when all is done:
        {"format_version": 1, "fingerprint": "…", "next": 0, "end": 0}
        {"n": 17, "line": "…"}     the line of record 17, which waits for an earlier one
        {"next": 18, "end": 4096}  records before 18 are in the output, which has 4096 bytes
        {"n": 5, "end": 999}       unordered: record 5 is in the output, which has 999 bytes

    each with "failed", the number of records so far that were not answered

The output is written before the journal says so, and what stands behind the end that the journal
names is cut off when a batch goes on. Invariant: whenever the process is killed, each record has
one line or is not done.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, Protocol, Self

from localrun.disk import storage_errors, write_all
from localrun.errors import OverloadedError, UsageError
from localrun.private import open_private
from localrun.system.files import sync_folder
from localrun.system.locks import NoLocksError, lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

FORMAT_VERSION = 1
SUFFIX = ".progress"
APPENDED_BYTES = 4 * 1024 * 1024  # of lines that waited; bounds their memory
SYNC_LINES = 256  # appended between two waits for the disk
MAX_LINE_BYTES = 256 * 1024 * 1024
AGAIN = "--no-resume   begins anew and replaces the output"


class LineOutput(Protocol):
    """Where the lines go."""

    def append(self, content: bytes) -> int:
        """Append lines; return the size of the output.

        Raises:
            StorageError: they cannot be written.
        """

    def cut(self, size: int) -> None:
        """Drop what stands behind a position."""

    def sync(self) -> None:
        """Make the lines durable."""

    def close(self) -> None:
        """Close the output."""


class OutputFile:
    """The output of a batch as a file."""

    def __init__(self, path: Path) -> None:
        """Open or create a file.

        Raises:
            StorageError: it cannot be opened.
        """
        self.path = path
        with storage_errors(path, hint="-o FILE   names another output"):
            self._file = open(path, "r+b" if path.exists() else "w+b", buffering=0)  # noqa: PTH123, SIM115 - `close` closes it

    @property
    def size(self) -> int:
        """Return the size in bytes."""
        return os.fstat(self._file.fileno()).st_size

    def cut(self, size: int) -> None:
        """Drop what stands behind a position."""
        self._file.truncate(size)

    def append(self, content: bytes) -> int:
        """Append lines whole or not at all; return the size of the file."""
        end = self._file.seek(0, os.SEEK_END)
        with storage_errors(self.path):
            try:
                write_all(self._file, content)
            except OSError:
                with contextlib.suppress(OSError):
                    self._file.truncate(end)
                raise
        return end + len(content)

    def sync(self) -> None:
        """Make the lines durable."""
        with storage_errors(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class BatchJournal:
    """The journal of one batch and its output; one thread uses it."""

    def __init__(self, path: Path, file: FileIO, output: LineOutput, *, is_ordered: bool) -> None:
        self._path = path
        self._file = file
        self._output = output
        self._is_ordered = is_ordered
        self._next = 0  # the first record that is not in the output, if it is ordered
        self._done: set[int] = set()  # records in the output, if it is not ordered
        self._waiting: dict[int, tuple[int, int]] = {}  # begin and size of lines in the journal
        self._num_unsynced = 0
        self.num_done = 0
        self.num_failed = 0  # of these, not answered

    @classmethod
    def create(
        cls, path: Path, output: LineOutput, *, fingerprint: str, is_ordered: bool, head: bytes
    ) -> Self:
        """Return a new journal, and let the output begin anew with ``head``.

        Raises:
            StorageError: it cannot be written.
            OverloadedError: another process has it.
        """
        with contextlib.ExitStack() as on_error:
            on_error.callback(output.close)
            file = _opened(path)
            on_error.callback(file.close)
            with storage_errors(path):
                file.truncate(0)
                output.cut(0)
            journal = cls(path, file, output, is_ordered=is_ordered)
            begin = {"format_version": FORMAT_VERSION, "fingerprint": fingerprint}
            journal._append({**begin, "next": 0, "end": output.append(head)})
            on_error.pop_all()
        return journal

    @classmethod
    def reopen(
        cls, path: Path, output: OutputFile, *, fingerprint: str, is_ordered: bool
    ) -> Self | None:
        """Return a journal that was left, with the output cut to what it names.

        None if the process that made it was killed before it wrote anything. The journal owns the
        output; without a journal it is closed.

        Raises:
            UsageError: it belongs to another input or to other options.
            OverloadedError: another process has it.
        """
        with contextlib.ExitStack() as on_error:
            on_error.callback(output.close)
            file = _opened(path)
            on_error.callback(file.close)
            journal = cls(path, file, output, is_ordered=is_ordered)
            if not journal._read(output, fingerprint):
                return None
            on_error.pop_all()
        return journal

    def is_done(self, index: int) -> bool:
        """Return whether a record has its line."""
        return index < self._next or index in self._waiting or index in self._done

    def add(self, index: int, line: bytes, *, is_failed: bool = False) -> None:
        """Keep the line of a record, and write all lines whose turn it is.

        Raises:
            StorageError: they cannot be written; the record is not done then.
        """
        self.num_failed += int(is_failed)
        if not self._is_ordered:
            end = self._output.append(line)
            self._append({"n": index, "end": end})
            self._done.add(index)
        elif index == self._next:
            self._write_next(line)
        else:
            self._waiting[index] = self._append({"n": index, "line": line.decode()})
        self.num_done += 1
        self._num_unsynced += 1
        if self._num_unsynced >= SYNC_LINES:
            self.sync()

    def sync(self) -> None:
        """Make all lines durable."""
        self._output.sync()
        with storage_errors(self._path):
            os.fsync(self._file.fileno())
        self._num_unsynced = 0

    def close(self) -> None:
        """Close journal and output; a later process goes on with them."""
        self._file.close()
        self._output.close()

    def remove(self) -> None:
        """Delete the journal: all is done."""
        self._output.sync()
        self._path.unlink(missing_ok=True)
        self.close()
        with contextlib.suppress(OSError):
            sync_folder(self._path.parent)

    def _read(self, output: OutputFile, fingerprint: str) -> bool:
        """Take over the entries of an earlier process; return False if there are none."""
        lines = self._complete_lines(output.size)
        head = next(lines, None)
        if head is None:
            return False
        end = head.get("end", 0)
        is_known = head.get("format_version") == FORMAT_VERSION
        if not is_known or head.get("fingerprint") != fingerprint:
            raise UsageError(
                f"{output.path.name} was begun with another input, model or other options",
                hint=AGAIN,
            )
        for entry in lines:
            end = entry.get("end", end)
        output.cut(end)
        self._write_waiting([], self._next)  # if it was killed between two appends
        return True

    def _write_next(self, line: bytes) -> None:
        """Write the next line and those that have waited for it."""
        self._write_waiting([line], self._next + 1)

    def _write_waiting(self, lines: list[bytes], number: int) -> None:
        """Write lines and those that wait from a number on, many in one append."""
        size = sum(map(len, lines))
        while number in self._waiting:
            lines.append(self._kept_line(number))
            size += len(lines[-1])
            number += 1
            if size > APPENDED_BYTES:
                self._write_lines(lines, number)
                lines, size = [], 0
        if lines:
            self._write_lines(lines, number)

    def _write_lines(self, lines: list[bytes], number: int) -> None:
        """Write the lines of the records before a number."""
        end = self._output.append(b"".join(lines))
        self._append({"next": number, "end": end})
        for done in range(self._next, number):
            self._waiting.pop(done, None)
        self._next = number

    def _kept_line(self, index: int) -> bytes:
        begin, size = self._waiting[index]
        with storage_errors(self._path):
            self._file.seek(begin)
            content = self._file.read(size)
        line: str = json.loads(content)["line"]
        return line.encode()

    def _append(self, entry: dict[str, Any]) -> tuple[int, int]:
        """Append an entry whole or not at all; return its place."""
        counted = {**entry, "failed": self.num_failed} if self.num_failed else entry
        content = json.dumps(counted, ensure_ascii=False).encode() + b"\n"
        with storage_errors(self._path):
            begin = self._file.seek(0, os.SEEK_END)
            try:
                write_all(self._file, content)
            except OSError:
                with contextlib.suppress(OSError):
                    self._file.truncate(begin)
                raise
        return begin, len(content)

    def _complete_lines(self, output_bytes: int) -> Iterator[dict[str, Any]]:
        """Yield the entries, and take over what they say.

        The journal is cut before the first one that is torn, or whose lines the output lost.
        """
        position = 0
        self._file.seek(0)
        with open(self._file.fileno(), "rb", closefd=False) as file:
            while content := file.readline(MAX_LINE_BYTES):
                entry = _entry(content)
                if entry is None or entry.get("end", 0) > output_bytes:
                    break
                self._take_over(entry, position, len(content))
                yield entry
                position += len(content)
        self._file.truncate(position)

    def _take_over(self, entry: dict[str, Any], begin: int, size: int) -> None:
        index = entry.get("n")
        if "line" in entry and isinstance(index, int):
            self._waiting[index] = (begin, size)
        elif isinstance(index, int):
            self._done.add(index)
        elif "next" in entry:
            for done in range(self._next, entry["next"]):
                self._waiting.pop(done, None)
            self._next = entry["next"]
        self.num_done = self._next + len(self._waiting) + len(self._done)
        self.num_failed = entry.get("failed", 0)


def journal_of(output: Path) -> Path:
    """Return the path of the journal of an output."""
    return output.with_name(output.name + SUFFIX)


def _opened(path: Path) -> FileIO:
    with storage_errors(path, hint="-o FILE   names another output"):
        file = open(path, "a+b", buffering=0, opener=open_private)  # noqa: SIM115 - the journal closes it
    try:
        lock(file.fileno(), wait=False)
    except BlockingIOError:
        file.close()
        raise OverloadedError(
            f"another process works on {path.name.removesuffix(SUFFIX)}", hint="wait for its end"
        ) from None
    except NoLocksError:
        pass
    return file


def _entry(content: bytes) -> dict[str, Any] | None:
    if not content.endswith(b"\n"):
        return None
    try:
        entry = json.loads(content)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
