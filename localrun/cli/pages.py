"""Help pages: a subset of Markdown, written as text for a terminal or a pipe.

A page has headings, paragraphs, lists, tables and fenced blocks. The words after the language of
a block are for the tests, and are not printed. In a pipe the page keeps its lines and has no
colours. On a terminal, paragraphs and tables are wrapped to its width.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FENCE = "```"
INDENT = "    "
CODE = re.compile(r"`([^`]+)`")
STRONG = re.compile(r"\*\*([^*]+)\*\*")
MARKER = re.compile(r"[-*] |\d+\. ")
RULE = re.compile(r"\|[-| :]+\|")
BOLD, CYAN, PLAIN = "\033[1m", "\033[36m", "\033[0m"
GAP, NARROWEST_CELL = 3, 20


@dataclass(frozen=True, slots=True)
class Look:
    """How a page is written; a width of None keeps the lines of the page."""

    width: int | None = None
    has_color: bool = False

    def heading(self, text: str) -> str:
        """Return a heading."""
        return f"{BOLD}{text}{PLAIN}" if self.has_color else text

    def code(self, line: str) -> str:
        """Return a line of a block."""
        return INDENT + (f"{CYAN}{line}{PLAIN}" if self.has_color else line) if line else ""

    def inline(self, text: str) -> str:
        """Return text with its spans of code, which have marks or a color."""
        return CODE.sub(f"{CYAN}\\1{PLAIN}", text) if self.has_color else text

    def length(self, text: str) -> int:
        """Return the number of columns of text with spans."""
        return len(CODE.sub(r"\1", text) if self.has_color else text)

    def paragraph(self, text: str, prefix: str = "") -> list[str]:
        """Return a paragraph, or an item of a list with its ``prefix``."""
        lines = text.splitlines()
        if self.width is not None:
            lines = _wrapped(" ".join(line.strip() for line in lines), self.width - len(prefix))
        starts = [prefix, *[" " * len(prefix)] * len(lines)]
        return [f"{start}{self.inline(line)}" for start, line in zip(starts, lines, strict=False)]


def render(page: str, look: Look) -> str:
    """Return a page as text."""
    blocks = [_written(block, look) for block in _blocks(STRONG.sub(r"\1", page))]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def title(page: str) -> str:
    """Return the first heading of a page."""
    return page.partition("\n")[0].lstrip("# ")


def _blocks(page: str) -> Iterator[list[str]]:
    """Yield the lines of each block: a fence to its end, else lines up to an empty line."""
    block: list[str] = []
    for line in page.splitlines():
        is_fenced = bool(block) and block[0].startswith(FENCE)
        ends = line == FENCE if is_fenced else not line.strip()
        if not is_fenced and line.startswith(FENCE) and block:
            yield block
            block = []
        if line or is_fenced:
            block.append(line)
        if ends and block:
            yield block
            block = []
    if block:
        yield block


def _written(block: list[str], look: Look) -> list[str]:
    first = block[0]
    if first.startswith(FENCE):
        return [look.code(line) for line in block[1:-1]]
    if first.startswith("<!--"):
        return []
    if first.startswith("#"):
        return [look.heading(first.lstrip("# "))]
    if first.startswith("|"):
        return _table([_cells(line) for line in block if not RULE.fullmatch(line)], look)
    if MARKER.match(first):
        return _list(block, look)
    return look.paragraph("\n".join(block))


def _list(block: list[str], look: Look) -> list[str]:
    lines: list[str] = []
    for item in _items(block):
        marker = MARKER.match(item)
        prefix = marker[0] if marker else ""
        lines += look.paragraph(item.removeprefix(prefix), prefix)
    return lines


def _items(block: list[str]) -> Iterator[str]:
    item: list[str] = []
    for line in block:
        if MARKER.match(line) and item:
            yield "\n".join(item)
            item = []
        item.append(line.strip() if item else line)
    yield "\n".join(item)


def _cells(line: str) -> list[str]:
    """Return the cells of a row; a bar after a backslash is a bar of a cell."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _table(rows: list[list[str]], look: Look) -> list[str]:
    """Return aligned rows; the last column takes the rest of the width."""
    *widths, last = [max(map(look.length, column)) for column in zip(*rows, strict=True)]
    start = sum(widths) + GAP * len(widths)
    if look.width is not None:
        last = max(min(last, look.width - start), NARROWEST_CELL)
    lines = []
    for number, row in enumerate(rows):
        head = "".join(
            look.inline(cell) + " " * (width - look.length(cell) + GAP)
            for cell, width in zip(row[:-1], widths, strict=True)
        )
        first, *others = _wrapped(row[-1], last) or [""]
        texts = [f"{head}{look.inline(first)}".rstrip()]
        texts += [" " * start + look.inline(line) for line in others]
        lines += [look.heading(text) for text in texts] if number == 0 else texts
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """Return the lines of a text; a span of code is not broken unless it is longer than a line."""
    kept = CODE.sub(lambda span: span[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(kept, max(width, 1), break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]
