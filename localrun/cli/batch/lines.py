"""Outputs of a batch that cannot be read again: stdout, and files such as a named pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.output import Output
from localrun.disk import storage_errors, write_all

if TYPE_CHECKING:
    from pathlib import Path


class PrintedLines:
    """The output of a batch on stdout."""

    def __init__(self) -> None:
        self._size = 0

    def append(self, content: bytes) -> int:
        """Print lines; return the number of bytes so far."""
        Output().piece(content.decode())
        self._size += len(content)
        return self._size

    def cut(self, _size: int) -> None:
        """Do nothing: what was printed stays."""

    def sync(self) -> None:
        """Do nothing, as above."""

    def close(self) -> None:
        """Do nothing: stdout stays open."""


class StreamedLines(PrintedLines):
    """The output of a batch in a file that only takes bytes."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            StorageError: it cannot be opened.
        """
        super().__init__()
        self._path = path
        with storage_errors(path):
            self._file = path.open("wb", buffering=0)

    def append(self, content: bytes) -> int:
        """Write lines; return the number of bytes so far."""
        with storage_errors(self._path):
            write_all(self._file, content)
        self._size += len(content)
        return self._size

    def close(self) -> None:
        """Close the file."""
        self._file.close()
