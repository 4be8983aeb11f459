"""Standard streams of a worker, opened and closed as the interpreter does it for a program."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

STDERR = 2
FAILED_FLUSH = 120  # Python's exit code if stdout or stderr cannot be written at the end
NEW_MESSAGE = (3, 14)  # the first version that names the stream otherwise


def open_streams(descriptions: Sequence[str], stdin: io.FileIO) -> None:
    """Open stdin, stdout and stderr as the client's interpreter has opened them.

    ``descriptions`` are ``encoding:errors:N``, with 1 for a stream without buffer.
    """
    buffers = [io.BufferedReader(stdin), *map(_buffer, (1, 2), descriptions[1:])]
    opened = [_stream(*each) for each in zip(range(3), buffers, descriptions, strict=True)]
    sys.stdin = sys.__stdin__ = opened[0]  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = opened[1]  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = opened[2]  # type: ignore[misc]


def _buffer(fd: int, description: str) -> Any:  # noqa: ANN401 - io has no type for both
    return open(fd, "wb", 0 if description.endswith(":1") else -1, closefd=False)


def _stream(fd: int, buffer: Any, description: str) -> io.TextIOWrapper:  # noqa: ANN401
    encoding, errors, unbuffered = description.split(":")
    is_unbuffered = unbuffered == "1"
    raw = getattr(buffer, "raw", buffer)
    raw.name = ("<stdin>", "<stdout>", "<stderr>")[fd]
    stream = io.TextIOWrapper(
        buffer,
        encoding=encoding,
        errors=errors,
        newline="\n",
        line_buffering=not is_unbuffered and (fd == STDERR or raw.isatty()),
        write_through=is_unbuffered,
    )
    stream.mode = "w" if fd else "r"  # type: ignore[misc]
    return stream


def flush_streams() -> bool:
    """Write what stdout and stderr still hold; return whether that worked.

    A failure of stdout is reported as the interpreter reports it at its end.
    """
    is_written = True
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        try:
            if not stream.closed:
                stream.flush()
        except (OSError, ValueError) as error:
            is_written = False
            if name == "stdout":
                _report(stream, error)
    return is_written


def _report(stream: object, error: Exception) -> None:
    where = "while flushing sys.stdout" if sys.version_info >= NEW_MESSAGE else f"in: {stream!r}"
    try:
        sys.stderr.write(f"Exception ignored {where}\n{type(error).__name__}: {error}\n")
    except (OSError, ValueError):  # stderr is closed as well
        return
