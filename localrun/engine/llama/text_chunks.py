"""Cut a long text into parts that llama.cpp tokenizes one after the other.

llama.cpp walks a list from its beginning for every special token that it finds, so the time
for a text grows with the square of their number; and for many vocabularies it splits words by
``std::regex``, which recurses once a character: a word of some 50,000 overflows the stack and
ends the process. So a text is cut

- before a special token, at each `SPECIALS`th: the tokens are the same as without the cut;
- for vocabularies that split words by expressions, around each window of `RUN` characters that
  has no blank, or nothing but blanks: one token in thousands may be another.

A text that is shorter than `RUN` is one part.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localrun.engine.llama.text_search import MultiStringSearch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RUN = 4096
SPECIALS = 256
MOST_SPECIALS = 1024  # a token that takes the blanks before it is cut off from them at the latest
BLANK = re.compile(r"[ \t\n\v\f\r]")  # what each vocabulary takes for one
SOLID = re.compile(r"\S")  # what none takes for a blank


class TextChunker:
    """Cuts for one vocabulary; any thread may call.

    ``special_texts`` are the special tokens, ``greedy_texts`` those of them that take the
    blanks before them.
    """

    def __init__(
        self, special_texts: Sequence[str], greedy_texts: Sequence[str], *, has_words: bool
    ) -> None:
        self._spelling = MultiStringSearch(special_texts)
        self._greedy = frozenset(greedy_texts)
        self._has_words = has_words

    def parts(self, text: str) -> Iterator[str]:
        """Yield the parts, which add up to the text; one for the empty text."""
        if len(text) <= RUN:
            yield text
            return
        begin = 0
        for place in self._places(text):
            if place > begin:
                yield text[begin:place]
                begin = place
        if begin < len(text):
            yield text[begin:]

    def _places(self, text: str) -> Iterator[int]:
        before = 0
        for place in self._special_places(text):
            yield from self._run_places(text, before, place)
            yield place
            before = place
        yield from self._run_places(text, before, len(text))

    def _special_places(self, text: str) -> Iterator[int]:
        num_passed = 0
        for match in self._spelling.find(text):
            num_passed += 1
            start = match.start()
            takes_blanks = match[0] in self._greedy and text[start - 1 : start].isspace()
            if num_passed > MOST_SPECIALS or (num_passed > SPECIALS and not takes_blanks):
                yield start
                num_passed = 1

    def _run_places(self, text: str, start: int, end: int) -> Iterator[int]:
        """Yield both ends of each window that is within one run; a longer run fills a window."""
        if not self._has_words:
            return
        for begin in range(start, end - RUN + 1, RUN):
            window = begin + RUN
            if not (BLANK.search(text, begin, window) and SOLID.search(text, begin, window)):
                yield begin
                yield window
