"""Lenient patterns of a family's tags, for the parser and for grammars.

Blanks in a tag match any blanks. The placeholders ``{id}``, ``{index}``, ``{type}`` and ``{key}``
match text that differs from call to call. Every pattern takes linear time.
"""

from __future__ import annotations

import re

from localrun.chat.profiles.formats.pieces import Pattern, Piece

NAME = r'(?P<name>[^\s<>{}\[\]"=|]{1,256})'
KEY = r'(?P<key>(?!/)[^\s<>{}\[\]"=|]{1,256})'
_HOLES = {"{id}": r"[\w.:-]*", "{index}": r"\d*", "{type}": r"\w*", "{key}": r"(?P=key)"}
_FILLINGS: dict[str, Piece] = {
    "{id}": Pattern("[a-zA-Z0-9_.:-]{1,64}"),
    "{index}": Pattern("[0-9]{1,3}"),
}
_META = re.compile(r"([\\.+*?()|\[\]{}^$#&~-])")  # of regular expressions, also of Rust's
_FILLED = re.compile(r"(\{id\}|\{index\})")
_PARTS = re.compile(r"(\s+|\{id\}|\{index\}|\{type\}|\{key\})")


def loosely(tag: str) -> str:
    """Return the regular expression of a tag with any blanks."""
    parts = (part for part in _PARTS.split(tag) if part)
    return "".join(
        _HOLES.get(part) or (r"\s*" if part.isspace() else re.escape(part)) for part in parts
    )


def compiled(expression: str) -> re.Pattern[str]:
    r"""Compile an expression with each ``\s*`` made possessive.

    No part of a tag begins with a blank, so backtracking into blanks cannot succeed; between
    several optional parts it would try each way to divide the blanks.
    """
    return re.compile(expression.replace(r"\s*", r"\s*+"))


def filled(tag: str) -> list[Piece]:
    """Return the grammar pieces of a tag, with patterns for its placeholders."""
    return [_FILLINGS.get(part, part) for part in _FILLED.split(tag) if part]


def until_hole(tag: str) -> str:
    """Return the beginning of a tag, before its first placeholder."""
    return tag.strip().partition("{")[0]


def escaped(text: str) -> str:
    """Return the regular expression of a text for a grammar, with Rust's escapes."""
    return _META.sub(r"\\\1", text)
