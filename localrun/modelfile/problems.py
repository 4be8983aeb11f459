"""What is wrong with a recipe: a place, a code, a sentence, and what to write instead.

    Modelfile:3:11: error: unknown parameter: temprature [unknown-parameter]
        PARAMETER temprature 0.7
                  ^
    hint: did you mean temperature?

Text of the file is shown with everything unprintable replaced, since a recipe from
elsewhere must not steer a terminal.
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
MOST_SHOWN = 100  # characters of a line
SHOWN_BEFORE = 60  # of them, in front of the caret
MOST_QUOTED = 40  # characters of a value inside a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, or that surprises."""

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
        return f"{shown(self.file, MOST_SHOWN)}:{self.line}:{self.column}"


class ModelfileError(UsageError):
    """A recipe that cannot be read; ``problem`` says where."""

    code = "invalid_modelfile"
    has_lines = True

    def __init__(self, problem: Problem) -> None:
        super().__init__(
            "\n".join([f"{problem.where}: {problem.message}", *_excerpt(problem)]),
            hint=problem.hint,
        )
        self.problem = problem


def problem_at(
    place: SourcePosition,
    code: str,
    message: str,
    *,
    hint: str | None = None,
    severity: Severity = "error",
) -> Problem:
    """Return a problem at a place."""
    return Problem(
        file=place.file,
        line=place.line,
        column=place.column,
        severity=severity,
        code=code,
        message=message,
        hint=hint,
        text=place.text,
    )


def render_problem(problem: Problem) -> str:
    """Return the lines that tell a problem to a person, without a newline at the end."""
    head = f"{problem.where}: {problem.severity}: {problem.message} [{problem.code}]"
    hint = [f"hint: {problem.hint}"] if problem.hint else []
    return "\n".join([head, *_excerpt(problem), *hint])


def shown(text: str, most: int = MOST_QUOTED) -> str:
    """Return text of a file for use inside a message: one line, printable, not long."""
    line = "".join(char if char.isprintable() else "\ufffd" for char in text[: most + 1])
    return f"{line[:most]}..." if len(line) > most else line


def _excerpt(problem: Problem) -> list[str]:
    """Return the line and the caret under the column, a long line cut around it."""
    if not problem.text:
        return []
    start = max(0, problem.column - 1 - SHOWN_BEFORE)
    before = _plain(problem.text[start : problem.column - 1])
    after = _plain(problem.text[problem.column - 1 : start + MOST_SHOWN])
    return [f"{INDENT}{before}{after}".rstrip(), f"{INDENT}{' ' * _width(before)}^"]


def _plain(text: str) -> str:
    """Return the text with one printable character for each one of it."""
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text
    )


def _width(text: str) -> int:
    """Return the columns of a terminal that the text takes."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
