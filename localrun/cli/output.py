"""The only printer: results on stdout, everything else on stderr.

``--json`` prints one object, or a list, whose keys the tests pin down. No colours
and no escape codes leave this module unless stderr is a terminal. A reader that goes
away (``| head -1``) ends the program quietly; a full disk is an error.

What others wrote (names of files and models, a server's words, a model's answer) cannot move
the cursor or colour the terminal: on a terminal every text passes `harmless`, and names pass
`plain` everywhere. What goes to a pipe or a file is left as it is, to the byte.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from localrun.addresses import redacted
from localrun.errors import LocalrunError, StorageError
from localrun.terminal import harmless, harmless_line, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

BROKEN_PIPE_EXIT = 141  # what a shell reports of a program that SIGPIPE ended
JSON_CONTROL = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
Item = TypeVar("Item")
DIM, PLAIN = "\033[2m", "\033[0m"
CLEAR_LINE, CLEAR_SCREEN = "\033[K", "\033[H\033[2J"


class Output:
    """Where a command's words go."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._has_status = False

    def line(self, text: str) -> None:
        """Print a line of our own words and others' names."""
        _write((harmless_line(text) if sys.stdout.isatty() else text) + "\n")

    def piece(self, text: str) -> None:
        """Print a part of a text at once, without a line's end."""
        _write(harmless(text) if sys.stdout.isatty() else text)

    def json(self, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Print a result as JSON."""
        import json

        self.line(_ascii_controls(json.dumps(value, ensure_ascii=False, indent=2)))

    def event(self, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Print one JSON object on a line of its own."""
        import json

        self.line(_ascii_controls(json.dumps(value, ensure_ascii=False)))

    def fresh_screen(self) -> None:
        """Let the next lines begin at the top, on a terminal."""
        if sys.stdout.isatty():
            _write(CLEAR_SCREEN)

    def text(self, text: str) -> None:
        """Print a text, such as a template for a file, with a line's end."""
        if text:
            self.piece(text if text.endswith("\n") else f"{text}\n")

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print aligned columns; without ``heads`` only the rows."""
        rows = [[plain(cell) for cell in row] for row in rows]
        lines = [heads, *rows] if heads else rows
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for row in lines:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.line("   ".join(cells).rstrip())

    def note(self, text: str) -> None:
        """Tell something that is not a result."""
        print(_note(text), file=sys.stderr)

    def aside(self, text: str) -> None:
        """Tell something by the way, dimmed on a terminal."""
        text = _note(text)
        print(f"{DIM}{text}{PLAIN}" if sys.stderr.isatty() else text, file=sys.stderr)

    def thought(self, text: str) -> None:
        """Show a model's thought, dimmed, on a terminal only."""
        if text and sys.stderr.isatty():
            print(f"{DIM}{harmless(text)}{PLAIN}", end="", file=sys.stderr, flush=True)

    def status(self, text: str) -> None:
        """Show what goes on in a line of its own that the next takes the place of; "" ends it.

        Only on a terminal.
        """
        if sys.stderr.isatty() and (text or self._has_status):
            print(f"\r{CLEAR_LINE}{plain(text)}", end="", file=sys.stderr, flush=True)
            self._has_status = bool(text)

    def error(self, error: LocalrunError) -> None:
        """Tell what went wrong and what to type next."""
        lines = error.message.split("\n") if error.has_lines else [error.message]
        self.note("error: " + "\n".join(map(plain, lines)))
        if error.hint:
            self.note(f"hint: {plain(error.hint)}")


def for_each(items: Iterable[Item], act: Callable[[Item], None], output: Output) -> None:
    """Act on every item, also after one that fails; then leave with the first one's exit code."""
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
    """Write a result while the block runs: a reader that went away ends the program quietly."""
    try:
        yield
    except BrokenPipeError:
        _discard_stdout()
        raise SystemExit(BROKEN_PIPE_EXIT) from None
    except OSError as error:
        _discard_stdout()
        raise StorageError(f"cannot write the output: {error.strerror}") from error


def is_terminal(stream: TextIO) -> bool:
    """Return whether a person sits at the stream."""
    return stream.isatty()


def agrees(question: str) -> bool:
    """Ask on a terminal; without one the answer is no."""
    if not is_terminal(sys.stdin):
        return False
    sys.stderr.write(f"{plain(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def human_bytes(count: int) -> str:
    """Write a size in decimal units, as download pages do: 6.3 MB."""
    if count < 1000:  # noqa: PLR2004 - decimal units
        return f"{count} B"
    value = float(count)
    for unit in ("KB", "MB", "GB"):
        value /= 1000
        if value < 999.95:  # noqa: PLR2004 - what is rounded to 1000.0 is one of the next unit
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def human_seconds(seconds: float) -> str:
    """Write a duration of some length roughly: 4 minutes."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(round(seconds / size), unit)
    return counted(max(0, round(seconds)), "second")


def counted(count: int, noun: str) -> str:
    """Write how many there are: 1 file, 2 files."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _note(text: str) -> str:
    """Return a sentence of ours for stderr; names in it can do no harm and show no secret."""
    return harmless_line(redacted(text))


def _write(text: str) -> None:
    with written_to_stdout():
        print(text, end="", flush=True)


def _ascii_controls(text: str) -> str:
    """Escape what JSON lets through and terminals obey; it stays the same JSON."""
    return JSON_CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _discard_stdout() -> None:
    """Let what Python still holds for stdout go nowhere when it flushes at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
