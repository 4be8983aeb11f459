"""Read tags leniently: what a family writes, as a regular expression.

Blanks in a tag stand for any blanks, and ``{id}``, ``{index}`` and ``{type}`` for what
differs from call to call.
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
    """Return a regular expression that finds a tag however it is spaced."""
    parts = (part for part in _PARTS.split(tag) if part)
    return "".join(
        _HOLES.get(part) or (r"\s*" if part.isspace() else re.escape(part)) for part in parts
    )


def compiled(expression: str) -> re.Pattern[str]:
    """Compile an expression whose blanks are taken once and never given back.

    No part of a tag begins with a blank, so giving some back cannot help; between several
    optional parts it would be tried for each way to divide the blanks.
    """
    return re.compile(expression.replace(r"\s*", r"\s*+"))


def filled(tag: str) -> list[Piece]:
    """Return a tag as a grammar has it: what differs from call to call as patterns."""
    return [_FILLINGS.get(part, part) for part in _FILLED.split(tag) if part]


def until_hole(tag: str) -> str:
    """Return the beginning of a tag that is always the same."""
    return tag.strip().partition("{")[0]


def escaped(text: str) -> str:
    """Return the regular expression of a text, for a grammar: Python's escapes are not Rust's."""
    return _META.sub(r"\\\1", text)
