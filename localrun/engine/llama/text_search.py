"""Multi-string search: finds many fixed texts at once, such as the tokens of a vocabulary.

Python's regular expressions try the branches of an alternation one by one, so a plain alternation
costs each character as much as there are texts. Here texts with a common prefix are one branch,
nested up to `MAX_DEPTH`, and a search holds the GIL for at most `WINDOW` characters.
"""

from __future__ import annotations

import os.path
import re
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_DEPTH = 8  # of nested groups: the compiler of regular expressions recurses
WINDOW = 64 * 1024
NOTHING = r"(?!)"


class MultiStringSearch:
    """Fixed texts; of two matches at one position the longer is found."""

    def __init__(self, texts: Iterable[str]) -> None:
        unique = sorted({text for text in texts if text})
        self._longest = max(map(len, unique), default=0)
        self._pattern = re.compile(_alternation(unique, MAX_DEPTH) if unique else NOTHING)

    def find(self, text: str) -> Iterator[re.Match[str]]:
        """Yield the matches from left to right, without overlaps."""
        position = 0
        while position < len(text):
            end = min(len(text), position + WINDOW + self._longest)
            limit = end if end == len(text) else end - self._longest  # matches before it are whole
            for match in self._pattern.finditer(text, position, end):
                if match.start() >= limit:
                    break
                yield match
                position = match.end()
            position = max(position, limit)


def _alternation(texts: Sequence[str], depth: int) -> str:
    """Return a regular expression for sorted, distinct texts."""
    start = os.path.commonprefix([texts[0], texts[-1]])  # noqa: RUF071 - of texts, not of paths
    suffixes = [text[len(start) :] for text in texts]
    if len(suffixes) == 1:
        return re.escape(start)
    if depth == 0:
        branches = [re.escape(suffix) for suffix in sorted(suffixes, key=len, reverse=True)]
    else:
        branches = _branches(suffixes, depth)
    return f"{re.escape(start)}(?:{'|'.join(branches)})"


def _branches(texts: Sequence[str], depth: int) -> list[str]:
    """Return a branch for each first character; single characters share one class."""
    ends = not texts[0]
    groups = [list(group) for _, group in groupby(texts[ends:], key=lambda text: text[0])]
    single = [group[0] for group in groups if len(group) == 1 and len(group[0]) == 1]
    branches = [f"[{re.escape(''.join(single))}]"] if single else []
    branches += [_alternation(group, depth - 1) for group in groups if group != [group[0][0]]]
    return [*branches, *([""] if ends else [])]
