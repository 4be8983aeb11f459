"""Result lines of a batch: of the requests that were answered, and of those that failed.

    {"id": "batch_req_…", "custom_id": "a-1", "response": {"status_code": 200, "request_id": "…",
     "body": {…}}, "error": null}

Each line is appended once its request has ended. What stands behind the last complete line was
being written when a server was killed, and is cut off. Invariant: a custom id has one line.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.disk import storage_errors, write_all
from localrun.private import make_private_folder, open_private
from localrun.server.batches.batch import LineCounts
from localrun.server.batches.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.runner.messages import JsonObject
    from localrun.server.batches.own_requests import OwnResponse

_log = logging.getLogger(__name__)

TAIL_BYTES = 64 * 1024  # read at a time to find the end of the last line


class AppendedFile:
    """A file of lines that grows; all methods block."""

    def __init__(self, path: Path) -> None:
        """Open a file and cut off a line that is not complete.

        Raises:
            StorageError: it cannot be opened.
        """
        self._path = path
        with storage_errors(path):
            make_private_folder(path.parent)
            self._file = open(path, "a+b", buffering=0, opener=open_private)  # noqa: SIM115 - Path.open has no opener; `close` closes it
            self._file.truncate(_end_of_lines(self._file.fileno()))

    def lines(self) -> Iterator[JsonObject]:
        """Yield the lines that are there; the file is cut before one that is damaged."""
        position = 0
        with self._path.open("rb") as file:
            for content in file:
                line = _result(content)
                if line is None:
                    _log.warning("%s is damaged from byte %d on", self._path.name, position)
                    self._file.truncate(position)
                    return
                position += len(content)
                yield line

    def append(self, fields: bytes) -> None:
        """Append a line, whole or not at all.

        Raises:
            StorageError: it cannot be written.
        """
        end = self._file.seek(0, os.SEEK_END)
        with storage_errors(self._path):
            try:
                write_all(self._file, fields + b"\n")
            except OSError:
                self._file.truncate(end)
                raise

    def close(self) -> None:
        """Make the lines durable, and close the file."""
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


class ResultFiles:
    """The two files of one batch, and what their lines add up to; all methods block."""

    def __init__(self, output: Path, errors: Path, *, total: int) -> None:
        """Open the files and read what is there.

        Raises:
            StorageError: a file cannot be opened.
        """
        self._output, self._errors = AppendedFile(output), AppendedFile(errors)
        self.done: set[str] = set()  # custom ids
        self.counts = LineCounts(total=total)
        self.usage = TokenUsage()
        for line in self._output.lines():
            self._count(line["custom_id"], is_ok=True)
            self.usage += TokenUsage.of_answer(line["response"]["body"])
        for line in self._errors.lines():
            self._count(line["custom_id"], is_ok=False)

    def add(self, custom_id: str, response: OwnResponse) -> None:
        """Append the line of a request that has ended.

        Raises:
            StorageError: it cannot be written; nothing is counted.
        """
        head = {"id": _new_id(), "custom_id": custom_id}
        begin = {"status_code": response.status, "request_id": response.request_id}
        line = (  # the body as it is: it has no line ends
            json.dumps(head).encode()[:-1]
            + b', "response": '
            + json.dumps(begin).encode()[:-1]
            + b', "body": '
            + response.body
            + b'}, "error": null}'
        )
        (self._output if response.is_ok else self._errors).append(line)
        self._count(custom_id, is_ok=response.is_ok)
        if response.is_ok:
            self.usage += TokenUsage.of_answer(json.loads(response.body))

    def add_error(self, custom_id: str, code: str, message: str) -> None:
        """Append the line of a request that was not sent.

        Raises:
            StorageError: it cannot be written; nothing is counted.
        """
        error = {"code": code, "message": message}
        fields = {"id": _new_id(), "custom_id": custom_id, "response": None, "error": error}
        self._errors.append(json.dumps(fields).encode())
        self._count(custom_id, is_ok=False)

    def close(self) -> None:
        """Make the lines durable, and close the files."""
        try:
            self._output.close()
        finally:
            self._errors.close()

    def _count(self, custom_id: str, *, is_ok: bool) -> None:
        self.done.add(custom_id)
        counts = self.counts
        self.counts = replace(
            counts,
            completed=counts.completed + int(is_ok),
            failed=counts.failed + int(not is_ok),
        )


def _result(content: bytes) -> JsonObject | None:
    """Return a line, None if it is none that this module wrote."""
    try:
        line = json.loads(content)
    except ValueError:
        return None
    is_known = isinstance(line, dict) and "custom_id" in line and "response" in line
    return line if is_known else None


def _new_id() -> str:
    return f"batch_req_{secrets.token_hex(12)}"


def _end_of_lines(descriptor: int) -> int:
    """Return the position behind the last line end of a file."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    while end > 0:
        start = max(0, end - TAIL_BYTES)
        os.lseek(descriptor, start, os.SEEK_SET)
        tail = os.read(descriptor, end - start)
        if (last := tail.rfind(b"\n")) >= 0:
            return start + last + 1
        end = start
    return 0
