"""The only printer: results on stdout, everything else on stderr.

``--json`` prints one object, or a list, whose keys the tests pin down. No colours
and no escape codes leave this module unless stderr is a terminal. A reader that goes
away (``| head -1``) ends the program quietly; a full disk is an error.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from localrun.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.errors import LocalrunError

BROKEN_PIPE_EXIT = 141  # what a shell reports of a program that SIGPIPE ended
DIM, PLAIN = "\033[2m", "\033[0m"


class Output:
    """Where a command's words go."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    def line(self, text: str) -> None:
        """Print a result."""
        self.piece(text + "\n")

    def piece(self, text: str) -> None:
        """Print a part of a result at once, without a line's end."""
        try:
            print(text, end="", flush=True)
        except BrokenPipeError:
            _discard_stdout()
            raise SystemExit(BROKEN_PIPE_EXIT) from None
        except OSError as error:
            _discard_stdout()
            raise StorageError(f"cannot write the output: {error.strerror}") from error

    def json(self, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Print a result as JSON."""
        import json

        self.line(json.dumps(value, ensure_ascii=False, indent=2))

    def event(self, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Print one JSON object on a line of its own."""
        import json

        self.line(json.dumps(value, ensure_ascii=False))

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print aligned columns; the last is as wide as it likes."""
        widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
        for row in (heads, *rows):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.line("   ".join(cells).rstrip())

    def note(self, text: str) -> None:
        """Tell something that is not a result."""
        print(text, file=sys.stderr)

    def thought(self, text: str) -> None:
        """Show a model's thought, dimmed, on a terminal only."""
        if text and sys.stderr.isatty():
            print(f"{DIM}{text}{PLAIN}", end="", file=sys.stderr, flush=True)

    def error(self, error: LocalrunError) -> None:
        """Tell what went wrong and what to type next."""
        self.note(f"error: {error.message}")
        if error.hint:
            self.note(f"hint: {error.hint}")


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a person sits at the stream."""
    return stream.isatty()


def human_bytes(count: int) -> str:
    """Write a size in decimal units, as download pages do: 6.3 MB."""
    value = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:  # noqa: PLR2004 - decimal units
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def human_seconds(seconds: float) -> str:
    """Write a duration of some length roughly: 4 minutes."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{max(0, round(seconds))} seconds"


def _discard_stdout() -> None:
    """Let what Python still holds for stdout go nowhere when it flushes at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
