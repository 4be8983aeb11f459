"""Letters as users see them: a character with its accents, an emoji with its parts, a flag.

A simple form of the grapheme clusters of Unicode (UAX 29): enough for the cursor of a line editor.
Looks at a bounded part of the text.
"""

from __future__ import annotations

import unicodedata

JOINER = "\u200d"
FIRST_FLAG, LAST_FLAG = "\U0001f1e6", "\U0001f1ff"  # regional indicators, two of which are a flag
FIRST_SKIN, LAST_SKIN = "\U0001f3fb", "\U0001f3ff"  # colors of an emoji
MAX_LENGTH = 64  # of what is looked at


def first_cluster(text: str) -> int:
    """Return the number of characters of the first letter, 0 if the text is empty."""
    length = min(1, len(text))
    while 0 < length < min(len(text), MAX_LENGTH) and _belongs(text, length):
        length += 1
    return length


def last_cluster(text: str) -> int:
    """Return the number of characters of the last letter, 0 if the text is empty."""
    remaining, length = text[-MAX_LENGTH:], 0
    while remaining:
        length = first_cluster(remaining)
        remaining = remaining[length:]
    return length


def _belongs(text: str, index: int) -> bool:
    """Return whether a character belongs to the letter that starts the text."""
    character = text[index]
    if JOINER in (character, text[index - 1]):
        return True
    if unicodedata.category(character) in {"Mn", "Me", "Mc"}:
        return True
    if FIRST_SKIN <= character <= LAST_SKIN:
        return True
    return index == 1 and all(FIRST_FLAG <= each <= LAST_FLAG for each in text[:2])
