"""Output of all commands: results on stdout, everything else on stderr.

The only module that prints. ``--json`` prints one object or a list; tests pin the keys. Colours
and escape codes are written only if stderr is a terminal. A reader that closes the pipe
(``| head -1``) ends the program quietly; a full disk is an error.

Text from outside (names of files and models, messages of servers, answers of models) cannot move
the cursor or colour the terminal: on a terminal every text passes `harmless`, and names pass
`plain` everywhere. Bytes written to a pipe or a file are not changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from localrun.addresses import redacted
from localrun.errors import LocalrunError, StorageError
from localrun.terminal import harmless, harmless_line, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from localrun.services.stored_model import ModelSummary

BROKEN_PIPE_EXIT = 141  # the status that a shell reports for SIGPIPE
JSON_CONTROL = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
Item = TypeVar("Item")
DIM, PLAIN = "\033[2m", "\033[0m"
CLEAR_LINE, CLEAR_SCREEN = "\033[K", "\033[H\033[2J"


class Output:
    """Output of one command."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._has_status = False

    def line(self, text: str) -> None:
        """Print a line of text and names."""
        _write((harmless_line(text) if sys.stdout.isatty() else text) + "\n")

    def piece(self, text: str) -> None:
        """Print a piece of text immediately, without a line end."""
        _write(harmless(text) if sys.stdout.isatty() else text)

    def json(self, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Print a result as JSON."""
        import json

        self.line(_ascii_controls(json.dumps(value, ensure_ascii=False, indent=2)))

    def event(self, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Print a value as one line of JSON."""
        import json

        self.line(_ascii_controls(json.dumps(value, ensure_ascii=False)))

    def fresh_screen(self) -> None:
        """Clear the screen, on a terminal."""
        if sys.stdout.isatty():
            _write(CLEAR_SCREEN)

    def text(self, text: str) -> None:
        """Print a text, such as a template, with a line end."""
        if text:
            self.piece(text if text.endswith("\n") else f"{text}\n")

    def page(self, text: str) -> None:
        """Print a text of this program, which may have colors."""
        _write(text)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print aligned columns; if ``heads`` is empty, only the rows."""
        rows = [[plain(cell) for cell in row] for row in rows]
        lines = [heads, *rows] if heads else rows
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for row in lines:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.line("   ".join(cells).rstrip())

    def note(self, text: str) -> None:
        """Print a message on stderr."""
        print(_note(text), file=sys.stderr)

    def aside(self, text: str) -> None:
        """Print a message on stderr, dimmed on a terminal."""
        text = _note(text)
        print(f"{DIM}{text}{PLAIN}" if sys.stderr.isatty() else text, file=sys.stderr)

    def thought(self, text: str) -> None:
        """Print reasoning of a model on stderr, dimmed, on a terminal only."""
        if text and sys.stderr.isatty():
            print(f"{DIM}{harmless(text)}{PLAIN}", end="", file=sys.stderr, flush=True)

    def status(self, text: str) -> None:
        """Print a status line on stderr that replaces the previous one; "" clears it.

        Only on a terminal.
        """
        if sys.stderr.isatty() and (text or self._has_status):
            width = shutil.get_terminal_size().columns - 1  # a longer line could not be cleared
            print(f"\r{CLEAR_LINE}{plain(text)[:width]}", end="", file=sys.stderr, flush=True)
            self._has_status = bool(text)

    def gap(self, num_lines: int = 1) -> None:
        """End the line on stderr that a text has begun, on a terminal."""
        if sys.stderr.isatty():
            print("\n" * num_lines, end="", file=sys.stderr, flush=True)

    def error(self, error: LocalrunError) -> None:
        """Print the message and the hint of an error."""
        lines = error.message.split("\n") if error.has_lines else [error.message]
        self.note("error: " + "\n".join(map(plain, lines)))
        if error.hint:
            self.note(f"hint: {plain(error.hint)}")


def for_each(items: Iterable[Item], act: Callable[[Item], None], output: Output) -> None:
    """Call ``act`` for every item; after failures, exit with the code of the first failure."""
    exit_code = 0
    for item in items:
        try:
            act(item)
        except LocalrunError as error:
            output.error(error)
            exit_code = exit_code or error.exit_code
    if exit_code:
        raise SystemExit(exit_code)


@contextlib.contextmanager
def written_to_stdout() -> Iterator[None]:
    """Translate errors of writing to stdout: a closed pipe ends the program quietly."""
    try:
        yield
    except BrokenPipeError:
        _discard_stdout()
        raise SystemExit(BROKEN_PIPE_EXIT) from None
    except OSError as error:
        _discard_stdout()
        raise StorageError(f"cannot write the output: {error.strerror}") from error


def is_terminal(stream: TextIO) -> bool:
    """Return whether the stream is a terminal."""
    return stream.isatty()


def confirms(question: str, *, default: bool = False) -> bool:
    """Ask the user to confirm; an empty line is ``default``, and no terminal is no."""
    if not is_terminal(sys.stdin):
        return False
    sys.stderr.write(f"{plain(question)} {'[Y/n]' if default else '[y/N]'} ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    return default if line.strip() == "" and line else line.strip().lower() in {"y", "yes"}


def human_bytes(count: int) -> str:
    """Return a size in decimal units: 6.3 MB."""
    if count < 1000:  # noqa: PLR2004 - decimal units
        return f"{count} B"
    value = float(count)
    for unit in ("KB", "MB", "GB"):
        value /= 1000
        if value < 999.95:  # noqa: PLR2004 - a value that rounds to 1000.0 gets the next unit
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def model_size(model: ModelSummary) -> str:
    """Return the size of a model's files, or where it is answered if it has none."""
    if model.remote is not None:
        return f"remote at {model.remote.first.host}"
    return human_bytes(model.size_bytes)


def human_seconds(seconds: float) -> str:
    """Return a duration in its largest unit: 4 minutes."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(round(seconds / size), unit)
    return counted(max(0, round(seconds)), "second")


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: 1 file, 2 files."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _note(text: str) -> str:
    """Return a message for stderr without escape codes and secrets in its names."""
    return harmless_line(redacted(text))


def _write(text: str) -> None:
    with written_to_stdout():
        print(text, end="", flush=True)


def _ascii_controls(text: str) -> str:
    """Escape characters that are legal in JSON strings and control terminals."""
    return JSON_CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _discard_stdout() -> None:
    """Redirect stdout to the null device: Python flushes its buffer at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
