"""Search of a text for many fixed texts at once, such as the control tokens of a vocabulary.

Python's regular expressions try the branches of an alternation one after the other, so a plain
one costs each character as much as there are texts. Here texts with the same beginning are one
branch, `MAX_DEPTH` times over, and a search holds the GIL for `WINDOW` characters at most.
"""

from __future__ import annotations

import os.path
import re
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_DEPTH = 8  # groups inside of groups: the compiler of expressions recurses
WINDOW = 64 * 1024
NOTHING = r"(?!)"


class MultiStringSearch:
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
    start = os.path.commonprefix([texts[0], texts[-1]])  # noqa: RUF071 - of texts, not of paths
    rests = [text[len(start) :] for text in texts]
    if len(rests) == 1:
        return re.escape(start)
    if depth == 0:
        branches = [re.escape(rest) for rest in sorted(rests, key=len, reverse=True)]
    else:
        branches = _branches(rests, depth)
    return f"{re.escape(start)}(?:{'|'.join(branches)})"


def _branches(texts: Sequence[str], depth: int) -> list[str]:
    """Return an expression for each first character, those that are texts by themselves in one."""
    ends = not texts[0]
    groups = [list(group) for _, group in groupby(texts[ends:], key=lambda text: text[0])]
    single = [group[0] for group in groups if len(group) == 1 and len(group[0]) == 1]
    branches = [f"[{re.escape(''.join(single))}]"] if single else []
    branches += [_alternation(group, depth - 1) for group in groups if group != [group[0][0]]]
    return [*branches, *([""] if ends else [])]
