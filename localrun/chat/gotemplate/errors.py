"""What is wrong with a Go template, and where."""

from __future__ import annotations

from dataclasses import dataclass

from localrun.errors import UsageError

HINT = "write TEMPLATE in Jinja, or leave it out: the template in the GGUF is used then"


@dataclass(frozen=True, slots=True)
class TemplatePosition:
    """A position in a template's source; both numbers begin at 1."""

    line: int
    column: int


class GoTemplateError(UsageError):
    """A Go template that is malformed, or that has no equal in Jinja."""

    code = "invalid_template"

    def __init__(self, problem: str, place: TemplatePosition) -> None:
        super().__init__(
            f"the Go template cannot be converted: line {place.line}, "
            f"column {place.column}: {problem}",
            hint=HINT,
        )
        self.line = place.line
        self.column = place.column


def place_of(source: str, offset: int) -> TemplatePosition:
    """Return where in the source an offset lies."""
    return TemplatePosition(
        source.count("\n", 0, offset) + 1, offset - source.rfind("\n", 0, offset)
    )
