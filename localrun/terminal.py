"""Text of others made safe for a terminal: nothing in it moves the cursor, colours or reorders.

Control characters (C0 but tab and newline, DEL, C1) become "?", so the rest of an escape
sequence is shown as letters. Letter by letter: a sequence that comes in several parts has no
effect either.
"""

from __future__ import annotations

import re

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# marks and overrides of the writing direction, and two that begin a line
REORDERING = re.compile(r"[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Return a text, or a part of one, without control characters.

    A carriage return is left out: it would let a line be written over.
    """
    return CONTROL.sub("?", text.replace("\r", ""))


def harmless_line(text: str) -> str:
    """Return a sentence with names of others in it: they cannot reorder what is beside them."""
    return REORDERING.sub("?", harmless(text))


def plain(text: str) -> str:
    """Return a text of others on one line, "?" for what a terminal does not print as a letter."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
