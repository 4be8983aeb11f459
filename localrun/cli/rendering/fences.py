"""Fences of blocks of code: which lines belong to a block, and what they are without its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.cli.rendering.lines import SHORTEST_FENCE, TAB

if TYPE_CHECKING:
    from localrun.cli.rendering.lines import LineStart


@dataclass(frozen=True, slots=True)
class Fence:
    """First line of a block of code."""

    marks: str  # the shortest line that ends the block
    language: str
    num_quotes: int
    indent: int

    @classmethod
    def of(cls, start: LineStart) -> Fence:
        """Return the fence that a line of the kind FENCE is."""
        mark = start.content[0]
        length = len(start.content) - len(start.content.lstrip(mark))
        return cls(
            marks=mark * max(length, SHORTEST_FENCE),
            language=start.content[length:].strip().partition(" ")[0],
            num_quotes=start.num_quotes,
            indent=start.indent,
        )

    def code(self, line: str) -> str | None:
        """Return a line without quote marks and indentation of the block, None if it has left it.

        A block in a quote ends with the quote.
        """
        for _ in range(self.num_quotes):
            stripped = line.lstrip(" ")
            if not stripped.startswith(">"):
                return None
            line = stripped[1:].removeprefix(" ")
        return _without_indent(line, self.indent)

    def is_closed_by(self, code: str) -> bool:
        """Return whether a line of code is the end of the block."""
        text = code.strip()
        blanks = code[: len(code) - len(code.lstrip())].expandtabs(TAB)
        is_like = len(text) >= len(self.marks) and set(text) == {self.marks[0]}
        return is_like and len(blanks) < TAB


def _without_indent(line: str, indent: int) -> str:
    column = position = 0
    while column < indent and line[position : position + 1] in {" ", "\t"}:
        column += TAB if line[position] == "\t" else 1
        position += 1
    return line[position:]
