r'''Forms of text in a Modelfile: plain, in quotes, or as a block.

    SYSTEM You are kind.              plain: the rest of the line, trimmed
    SYSTEM "  two lines,              in quotes: ends at a quote that ends a line,
    the second"                       there are no escapes
    SYSTEM """He said "hi" """        the same with three quotes
    SYSTEM<<END                       a block (ours): ends at the line END
    any text at all
    END

The first three forms are Ollama's. The block is for text that they cannot express: several lines,
one of which ends with three quotes. Ollama rejects a file in which ``<<`` follows the keyword
without a blank, so every file of Ollama has the same meaning here.

Ollama drops unprintable characters everywhere, so they do not hide a quote: they may precede the
first quote and follow the last one. Inside a text, also between two of its quotes, they are kept.
'''

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BLANKS = " \t"
TRIPLE = '"""'
FENCES = (TRIPLE, '"')  # the longer first
# unprintable characters: controls, spaces and marks of direction, joining and format,
# without CR and LF
INVISIBLE = (
    r"\x00-\x09\x0b\x0c\x0e-\x20\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u1680\u180e"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ufeff\ufff9-\ufffb"
    r"\U000e0001\U000e0020-\U000e007f"
)
LEADING = re.compile(rf"[{INVISIBLE}]*+")
CLOSING = {fence: re.compile(rf"{fence}(?=[{INVISIBLE}]*+(?:[\r\n]|\Z))") for fence in FENCES}
BLOCK = re.compile(
    r"<<(?P<end>[A-Za-z_][A-Za-z0-9_]{0,63})(?P<rest>[^\r\n]*)(?P<newline>\r\n|\r|\n|\Z)"
)
END_WORDS = re.compile(r"END_[0-9_]*+|END")


def past(pattern: re.Pattern[str], text: str, offset: int) -> int:
    """Return the offset behind the pattern's match at ``offset``, or ``offset`` without a match."""
    match = pattern.match(text, offset)
    return match.end() if match else offset


def fence_at(text: str, offset: int) -> str | None:
    """Return the opening quotes at ``offset``, or None if plain text begins."""
    return next((fence for fence in FENCES if text.startswith(fence, offset)), None)


def closing_fence(text: str, start: int, fence: str) -> int | None:
    """Return the offset of the closing quotes of a text that begins at ``start``, or None."""
    match = CLOSING[fence].search(text, start)
    return match.start() if match else None


def block_end(text: str, start: int, block: re.Match[str]) -> re.Match[str] | None:
    """Return the newline and the last line of a block whose text begins at ``start``, or None.

    The newline has the same form as the newline of the first line, so that a text which ends with
    CR is not mistaken for lines that end in CR LF.
    """
    newline = block["newline"]
    ending = re.compile(rf"{newline}{block['end']}[ \t]*+(?=[\r\n]|\Z)")
    return ending.search(text, start - len(newline))


def trim_invisible(text: str) -> str:
    """Return a line without unprintable characters at its ends."""
    start = past(LEADING, text, 0)
    end = len(text)
    while end > start and LEADING.fullmatch(text, end - 1, end):
        end -= 1
    return text[start:end]


def is_plain(text: str) -> bool:
    """Return whether the text without quotes is parsed to the same text."""
    return (
        text != ""
        and text == text.strip(BLANKS)
        and "\r" not in text
        and "\n" not in text
        and not trim_invisible(text).startswith('"')
    )


def in_quotes(text: str) -> str | None:
    """Return the text in the fewest quotes that preserve it, or None if none do."""
    for fence in reversed(FENCES):
        quoted = f"{fence}{text}{fence}"
        closing = closing_fence(quoted, len(fence), fence)
        if fence_at(quoted, 0) == fence and closing == len(fence) + len(text):
            return quoted
    return None


def as_block(text: str, suffix: str = "") -> str:
    """Return the text as a block; ``suffix`` follows the end word on the first line."""
    words = set(END_WORDS.findall(text))
    end = next(word for word in _ends() if word not in words)
    return f"<<{end}{suffix}\n{text}\n{end}"


def _ends() -> Iterator[str]:
    """Yield end words for a block, all within the allowed length."""
    yield from ("END", "END_")
    yield from (f"END_{number}" for number in itertools.count(2))
