"""Log files of the server, read as they are and as they grow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from localrun.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_LOG, SERVER_LOG = "server-start.log", "server.log"
POLL_S = 0.5
LONGEST_TAIL = 1 << 20  # bytes


def log_files(folder: Path) -> list[Path]:
    """Return the logs of a folder that hold anything: of the last start, and of the server."""
    return [
        path
        for path in (folder / START_LOG, folder / SERVER_LOG)
        if path.is_file() and path.stat().st_size
    ]


def new_lines(path: Path, num_lines: int, *, follow: bool = False) -> Iterator[str]:
    """Yield the last lines of a log; if wanted, wait for more for ever.

    A log that is replaced, because it has become long, is read from its beginning.

    Raises:
        StorageError: the log cannot be read.
    """
    offset = max(0, _size(path) - LONGEST_TAIL)
    text, offset = _read(path, offset)
    lines = text.splitlines(keepends=True)[-num_lines:]
    while True:
        rest = lines.pop() if lines and not lines[-1].endswith("\n") else ""
        yield from (line.rstrip("\n") for line in lines)
        if not follow:
            yield from [rest] if rest else []
            return
        time.sleep(POLL_S)
        if _size(path) < offset:
            offset = 0
        text, offset = _read(path, offset)
        lines = (rest + text).splitlines(keepends=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read(path: Path, offset: int) -> tuple[str, int]:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:  # it is being replaced
        return "", 0
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    return data.decode(errors="replace"), offset + len(data)
