"""Problems of a Modelfile: position, code, message and hint, and their text for a terminal.

    Modelfile:3:11: error: unknown parameter: temprature [unknown-parameter]
        PARAMETER temprature 0.7
                  ^
    hint: did you mean temperature?

Unprintable characters of the file are replaced in messages, since a foreign Modelfile must not
control a terminal.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.modelfile.source import SourcePosition

Severity = Literal["error", "warning"]

INDENT = "    "
MAX_SHOWN = 100  # characters of a line
SHOWN_BEFORE = 60  # of them, in front of the caret
MAX_QUOTED = 40  # characters of a value inside a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error or a warning at a position."""

    file: str
    line: int  # from 1
    column: int  # from 1, in characters
    severity: Severity
    code: str  # for programs: words joined by "-"
    message: str
    hint: str | None = None
    text: str = ""  # the line of the file

    @property
    def where(self) -> str:
        """Return ``file:line:column``."""
        return f"{shown(self.file, MAX_SHOWN)}:{self.line}:{self.column}"


class ModelfileError(UsageError):
    """A Modelfile that cannot be parsed; ``problem`` has the position."""

    code = "invalid_modelfile"
    has_lines = True

    def __init__(self, problem: Problem) -> None:
        super().__init__(
            "\n".join([f"{problem.where}: {problem.message}", *_excerpt(problem)]),
            hint=problem.hint,
        )
        self.problem = problem


def problem_at(
    position: SourcePosition,
    code: str,
    message: str,
    *,
    hint: str | None = None,
    severity: Severity = "error",
) -> Problem:
    """Return a problem at a position."""
    return Problem(
        file=position.file,
        line=position.line,
        column=position.column,
        severity=severity,
        code=code,
        message=message,
        hint=hint,
        text=position.text,
    )


def render_problem(problem: Problem) -> str:
    """Return the text of a problem, as above, without a newline at the end."""
    head = f"{problem.where}: {problem.severity}: {problem.message} [{problem.code}]"
    hint = [f"hint: {problem.hint}"] if problem.hint else []
    return "\n".join([head, *_excerpt(problem), *hint])


def shown(text: str, most: int = MAX_QUOTED) -> str:
    """Return text of a file for a message: one printable line of at most ``most`` characters."""
    line = "".join(char if char.isprintable() else "\ufffd" for char in text[: most + 1])
    return f"{line[:most]}..." if len(line) > most else line


def _excerpt(problem: Problem) -> list[str]:
    """Return the line and a caret under the column; a long line is cut around the column."""
    if not problem.text:
        return []
    start = max(0, problem.column - 1 - SHOWN_BEFORE)
    before = _plain(problem.text[start : problem.column - 1])
    after = _plain(problem.text[problem.column - 1 : start + MAX_SHOWN])
    return [f"{INDENT}{before}{after}".rstrip(), f"{INDENT}{' ' * _width(before)}^"]


def _plain(text: str) -> str:
    """Return the text with each unprintable character replaced by one printable character."""
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text
    )


def _width(text: str) -> int:
    """Return the width of the text in columns of a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
