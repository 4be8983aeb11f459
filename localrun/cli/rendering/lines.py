"""Kinds of lines of Markdown, decided by their first characters as soon as possible.

heading        # Title                    item     - text, 3. text
fence          ```python, ~~~             quote    > text
table row      | a | b |                  rule     ---, ***, ___
text           everything else
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

MAX_HEADING, MAX_DIGITS, MAX_QUOTES = 6, 9, 8
SHORTEST_FENCE, SHORTEST_RULE = 3, 3
LONGEST_HEAD = 200  # characters before the kind of a line is known; a longer one is text
TAB = 4  # blanks that a tab before a line counts for
BULLETS, RULES = "-*+", "-*_"


class LineKind(Enum):
    """Kind of a line."""

    TEXT = auto()
    HEADING = auto()
    ITEM = auto()
    FENCE = auto()
    ROW = auto()
    RULE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineStart:
    """Decided beginning of a line."""

    kind: LineKind
    num_quotes: int = 0
    indent: int = 0  # blanks before it, behind the quote marks
    marker: str = ""  # of an item: "-" or "3."; of a heading its "#"
    content: str = ""  # what has arrived behind the marker


def decide(head: str, *, is_complete: bool) -> LineStart | None:
    """Return the kind of a line that begins with ``head``, None if more of it must arrive."""
    stripped, num_quotes = head.lstrip(" \t"), 0
    text = head[: len(head) - len(stripped)].replace("\t", " " * TAB) + stripped
    while stripped.startswith(">") and num_quotes < MAX_QUOTES:
        text = stripped[1:].removeprefix(" ")
        num_quotes, stripped = num_quotes + 1, text.lstrip(" ")
    if num_quotes and not text and not is_complete:
        return None
    indent = len(text) - len(stripped)
    if not stripped:
        start = LineStart(kind=LineKind.TEXT) if is_complete else None
    else:
        start = _decide(stripped, is_complete=is_complete)
    is_undecided = start is None or start.kind in {LineKind.FENCE, LineKind.RULE}
    if is_undecided and len(head) >= LONGEST_HEAD:
        return LineStart(kind=LineKind.TEXT, content=head)
    if start is None:
        return None
    return LineStart(
        kind=start.kind,
        num_quotes=num_quotes,
        indent=indent,
        marker=start.marker,
        content=start.content,
    )


def _decide(text: str, *, is_complete: bool) -> LineStart | None:
    first = text[0]
    if first == "#":
        return _heading(text, is_complete=is_complete)
    if first == "|":
        return LineStart(kind=LineKind.ROW, content=text)
    if first in "`~":
        return _fence(text, is_complete=is_complete)
    if first in RULES + BULLETS:
        return _item_or_rule(text, is_complete=is_complete)
    if first.isascii() and first.isdigit():
        return _numbered(text, is_complete=is_complete)
    return LineStart(kind=LineKind.TEXT, content=text)


def _heading(text: str, *, is_complete: bool) -> LineStart | None:
    content = text.lstrip("#")
    level = len(text) - len(content)
    if level > MAX_HEADING or content[:1] not in {"", " "}:
        return LineStart(kind=LineKind.TEXT, content=text)
    if not content.strip() and not is_complete:
        return None
    return LineStart(kind=LineKind.HEADING, marker="#" * level, content=content.lstrip())


def _fence(text: str, *, is_complete: bool) -> LineStart | None:
    run = len(text) - len(text.lstrip(text[0]))
    is_code = text[0] == "`" and "`" in text[run:]  # "```code```" within a line
    if run >= SHORTEST_FENCE and not is_code:
        return LineStart(kind=LineKind.FENCE, content=text)
    if run == len(text) and not is_complete:
        return None
    return LineStart(kind=LineKind.TEXT, content=text)


def _item_or_rule(text: str, *, is_complete: bool) -> LineStart | None:
    marks = set(text.replace(" ", ""))
    if len(marks) == 1 and text[0] in RULES:  # "- - -" is a rule, "-" an item
        if not is_complete:
            return None
        if text.count(text[0]) >= SHORTEST_RULE:
            return LineStart(kind=LineKind.RULE)
    if text[0] in BULLETS and text[1:2] == " ":
        return _item(text[0], text[2:], is_complete=is_complete)
    if text[0] in BULLETS and len(text) == 1:
        return LineStart(kind=LineKind.ITEM, marker=text[0]) if is_complete else None
    return LineStart(kind=LineKind.TEXT, content=text)


def _numbered(text: str, *, is_complete: bool) -> LineStart | None:
    digits = len(text) - len(text.lstrip("0123456789"))
    behind = text[digits:]
    if digits <= MAX_DIGITS and behind[:1] in {"", ".", ")"} and len(behind) < 2:  # noqa: PLR2004 - the mark and a blank
        if not is_complete:
            return None
    elif digits <= MAX_DIGITS and behind[0] in ".)" and behind[1] == " ":
        return _item(text[: digits + 1], behind[2:], is_complete=is_complete)
    return LineStart(kind=LineKind.TEXT, content=text)


def _item(marker: str, text: str, *, is_complete: bool) -> LineStart | None:
    content = text.lstrip(" ")
    if not content and not is_complete:
        return None
    return LineStart(kind=LineKind.ITEM, marker=marker, content=content)
