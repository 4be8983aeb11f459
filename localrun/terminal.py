"""Terminal safety: foreign text without characters that control, color or reorder the output.

Control characters (C0 except tab and newline, DEL, C1) become "?", so the rest of an escape
sequence is shown as letters. Works character by character: a sequence split over several parts has
no effect either. A separate module at the lowest layer: everything that prints imports it.
"""

from __future__ import annotations

import re

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# direction marks and overrides, and the line and paragraph separators
REORDERING = re.compile(r"[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Return a text, or a part of one, without control characters.

    Carriage returns are removed, because they allow overwriting the line.
    """
    return CONTROL.sub("?", text.replace("\r", ""))


def harmless_line(text: str) -> str:
    """Return a line without control characters and without direction overrides."""
    return REORDERING.sub("?", harmless(text))


def plain(text: str) -> str:
    """Return a text as one line, with "?" for every unprintable character."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
