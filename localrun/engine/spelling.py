"""Search of a text for many fixed texts at once, such as the control tokens of a vocabulary.

Python's regular expressions try the branches of an alternation one after the other, so a plain
one costs each character as much as there are texts. Here branches with the same beginning are
one, down to `MAX_DEPTH` characters, and a search holds the GIL for `WINDOW` characters at most.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_DEPTH = 8  # groups inside of groups: the compiler of expressions recurses
WINDOW = 64 * 1024
NOTHING = r"(?!)"


class Spelling:
    """Fixed texts; of two that begin at one place the longer is found."""

    def __init__(self, texts: Iterable[str]) -> None:
        found = sorted({text for text in texts if text})
        self._longest = max(map(len, found), default=0)
        self._pattern = re.compile(_alternation(found, MAX_DEPTH) if found else NOTHING)

    def find(self, text: str) -> Iterator[re.Match[str]]:
        """Yield the places from left to right; none overlaps the one before."""
        at = 0
        while at < len(text):
            end = min(len(text), at + WINDOW + self._longest)
            sure = end if end == len(text) else end - self._longest  # what begins there is whole
            for match in self._pattern.finditer(text, at, end):
                if match.start() >= sure:
                    break
                yield match
                at = match.end()
            at = max(at, sure)


def _alternation(texts: Sequence[str], depth: int) -> str:
    """Return an expression for sorted texts that differ."""
    if depth == 0:
        return _group(re.escape(text) for text in sorted(texts, key=len, reverse=True))
    ends = not texts[0]
    groups = groupby(texts[ends:], key=lambda text: text[0])
    branches = [_branch(first, [text[1:] for text in group], depth) for first, group in groups]
    return _group([*branches, *([""] if ends else [])])


def _branch(first: str, rests: Sequence[str], depth: int) -> str:
    if len(rests) == 1:
        return re.escape(first + rests[0])
    return re.escape(first) + _alternation(rests, depth - 1)


def _group(branches: Iterable[str]) -> str:
    found = list(branches)
    return found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"
