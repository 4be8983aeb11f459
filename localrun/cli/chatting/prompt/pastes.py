"""Folded pastes of a prompt: a long paste is one private character of the text.

    text      "explain \U000f0000 please"       what the line editor holds
    shown     "explain [paste 1: 10,000 lines] please"
    expanded  the pasted lines                  what is sent

One character is deleted, moved over and undone as a whole, so a marker is never half a marker. The
characters are of a private plane; a pasted text that contains one of them is folded as well, so
each of them in a prompt stands for a paste. The cost is linear in the size of the text.
"""

from __future__ import annotations

import re

FIRST, LAST = 0xF0000, 0xFFFFD  # Supplementary Private Use Area A
FOLDED = re.compile(f"[{chr(FIRST)}-{chr(LAST)}]")
MAX_SHOWN_LINES, MAX_SHOWN_CHARACTERS = 12, 2000  # of a paste that stays as text


class FoldedPastes:
    """Pasted texts by their private character; they last as long as the chat, for its history."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def fold(self, text: str) -> str:
        """Return the text as the line editor holds it: unchanged, or one private character."""
        if not _is_long(text) and FOLDED.search(text) is None:
            return text
        if len(self._texts) > LAST - FIRST:
            return FOLDED.sub("\N{REPLACEMENT CHARACTER}", text)
        self._texts.append(text)
        return chr(FIRST + len(self._texts) - 1)

    def expand(self, text: str) -> str:
        """Return the text with its pastes in full."""
        return FOLDED.sub(lambda match: self._text_of(match[0]), text)

    def label(self, text: str) -> str:
        """Return the text with the markers of its pastes, numbered from 1."""
        numbers = iter(range(1, len(text) + 1))
        return FOLDED.sub(lambda match: self.marker(match[0], next(numbers)), text)

    def marker(self, character: str, number: int) -> str:
        """Return the marker of a paste."""
        return f"[paste {number}: {_size(self._text_of(character))}]"

    def _text_of(self, character: str) -> str:
        index = ord(character) - FIRST
        return self._texts[index] if index < len(self._texts) else ""


def is_folded(character: str) -> bool:
    """Return whether a character stands for a paste."""
    return FIRST <= ord(character) <= LAST


def _is_long(text: str) -> bool:
    return len(text) > MAX_SHOWN_CHARACTERS or text.count("\n") >= MAX_SHOWN_LINES


def _size(text: str) -> str:
    num_lines = text.count("\n") + (not text.endswith("\n"))
    if num_lines > 1:
        return f"{num_lines:,} lines"
    return f"{len(text):,} character{'' if len(text) == 1 else 's'}"
