"""Tables of Markdown, as aligned columns that fit the width.

Columns that are too wide are wrapped within their cells. If the width does not suffice for that,
each row becomes a record of lines ``head: cell``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.cli.rendering.inline import parse_inline
from localrun.cli.rendering.line_writer import LineWriter, cells
from localrun.cli.rendering.look import NO_STYLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localrun.cli.rendering.look import Style, TerminalLook

GAP, NARROWEST = 2, 8
MAX_COLUMNS = 40
HEAD = replace(NO_STYLE, is_bold=True)
DELIMITERS = frozenset("-: ")


def is_delimiter(row: Sequence[str]) -> bool:
    """Return whether a row is the line between head and body."""
    return bool(row) and all(cell and set(cell) <= DELIMITERS and "-" in cell for cell in row)


def split_row(line: str) -> list[str]:
    """Return the cells of a row; a bar after a backslash or in code is part of its cell."""
    row, cell, is_code, is_escaped = [], "", False, False
    for character in line.strip().strip("|"):
        if character == "|" and not is_code and not is_escaped:
            row.append(cell.strip())
            cell = ""
        else:
            cell += character
        is_code ^= character == "`"
        is_escaped = character == "\\"
    return [*row, cell.strip()][:MAX_COLUMNS]


def render_table(lines: Sequence[str], width: int | None, look: TerminalLook) -> Iterator[str]:
    """Yield the lines of a table for a width; without a delimiter they are returned as they are."""
    rows = [split_row(line) for line in lines]
    if len(rows) < 2 or not is_delimiter(rows[1]):  # noqa: PLR2004 - the head and the delimiter
        yield from lines
        return
    head, alignments, body = rows[0], [_alignment(cell) for cell in rows[1]], rows[2:]
    num = len(head)
    body = [[*row, *[""] * num][:num] for row in body]
    columns = [max(map(_natural_width, column)) for column in zip(head, *body, strict=True)]
    widths = _fitted(columns, width)
    if widths is None:
        yield from _records(head, body, width, look)
        return
    aligned = [*alignments, *["<"] * num][:num]
    yield from _row(head, widths, aligned, look, HEAD)
    yield "  ".join("─" * one for one in widths)
    for row in body:
        yield from _row(row, widths, aligned, look, NO_STYLE)


def _alignment(delimiter: str) -> str:
    if delimiter.endswith(":"):
        return "^" if delimiter.startswith(":") else ">"
    return "<"


def _natural_width(cell: str) -> int:
    pieces: list[str] = []
    parse_inline(cell, lambda _, text: pieces.append(text))
    return max(1, cells("".join(pieces)))


def _fitted(columns: list[int], width: int | None) -> list[int] | None:
    """Return the widths of columns that fit, the widest cut first; None if there is none."""
    gaps = GAP * (len(columns) - 1)
    if width is None or sum(columns) + gaps <= width:
        return columns
    if sum(min(one, NARROWEST) for one in columns) + gaps > width:
        return None
    room, widths = width - gaps, dict.fromkeys(range(len(columns)), 0)
    order = sorted(widths, key=lambda number: columns[number])
    for done, number in enumerate(order):  # narrow columns whole, the others share the rest
        widths[number] = min(columns[number], room // (len(order) - done))
        room -= widths[number]
    return [widths[number] for number in range(len(columns))]


def _row(
    row: list[str], widths: list[int], alignments: list[str], look: TerminalLook, style: Style
) -> Iterator[str]:
    wrapped = [_cell(cell, width, look, style) for cell, width in zip(row, widths, strict=True)]
    for number in range(max(len(lines) for lines in wrapped)):
        parts = [
            _aligned(*(lines[number] if number < len(lines) else ("", 0)), width, alignment)
            for lines, width, alignment in zip(wrapped, widths, alignments, strict=True)
        ]
        yield (" " * GAP).join(parts).rstrip(" ")


def _cell(text: str, width: int, look: TerminalLook, style: Style) -> list[tuple[str, int]]:
    """Return the lines of a cell with their widths."""
    parts: list[str] = []
    writer = LineWriter(parts.append, lambda: width, look)
    parse_inline(text, writer.text, style)
    writer.end()
    return list(zip("".join(parts).split("\n"), writer.widths, strict=False))


def _aligned(text: str, size: int, width: int, alignment: str) -> str:
    blanks = max(0, width - size)
    left = {"<": 0, ">": blanks, "^": blanks // 2}[alignment]
    return " " * left + text + " " * (blanks - left)


def _records(
    head: list[str], body: list[list[str]], width: int | None, look: TerminalLook
) -> Iterator[str]:
    for row in body:
        for name, cell in zip(head, row, strict=True):
            parts: list[str] = []
            writer = LineWriter(parts.append, lambda: width, look)
            parse_inline(name, writer.text, HEAD)
            writer.text(NO_STYLE, ": ")
            parse_inline(cell, writer.text)
            writer.end()
            yield from "".join(parts).removesuffix("\n").split("\n")
        yield ""
