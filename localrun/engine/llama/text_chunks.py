"""Chunks of a long text that llama.cpp tokenizes one by one, in linear time and bounded stack.

For every special token that llama.cpp finds, it walks a list from the start, so its time grows
with the square of their number. For many vocabularies it splits words by ``std::regex``, which
recurses for each character: a word of about 50,000 characters overflows the stack and ends the
process. So a text is cut

- before every `SPECIALS`th special token: the tokens are the same as without the cut;
- for vocabularies that split words by regular expressions, around each window of `RUN`
  characters without a blank, or with blanks only: one token in thousands may differ.

A text that is shorter than `RUN` is one chunk.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from localrun.engine.llama.text_search import MultiStringSearch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RUN = 4096
SPECIALS = 256
MAX_SPECIALS = 1024  # a special token that strips blanks before it is cut off from them here
BLANK = re.compile(r"[ \t\n\v\f\r]")  # white space in every vocabulary
SOLID = re.compile(r"\S")  # white space in no vocabulary


class TextChunker:
    """Chunks of texts for one vocabulary; any thread may call.

    ``special_texts`` are the special tokens, ``greedy_texts`` those of them that strip the
    blanks before them (LSTRIP).
    """

    def __init__(
        self, special_texts: Sequence[str], greedy_texts: Sequence[str], *, has_words: bool
    ) -> None:
        self._special_texts = special_texts
        self._greedy = frozenset(greedy_texts)
        self._has_words = has_words

    def parts(self, text: str) -> Iterator[str]:
        """Yield the chunks, which add up to the text; the empty text is one chunk."""
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

    @cached_property
    def _search(self) -> MultiStringSearch:
        """Return the search for special tokens, which only long texts need."""
        return MultiStringSearch(self._special_texts)

    def _places(self, text: str) -> Iterator[int]:
        before = 0
        for place in self._special_places(text):
            yield from self._run_places(text, before, place)
            yield place
            before = place
        yield from self._run_places(text, before, len(text))

    def _special_places(self, text: str) -> Iterator[int]:
        num_passed = 0
        for match in self._search.find(text):
            num_passed += 1
            start = match.start()
            strips_blanks = match[0] in self._greedy and text[start - 1 : start].isspace()
            if num_passed > MAX_SPECIALS or (num_passed > SPECIALS and not strips_blanks):
                yield start
                num_passed = 1

    def _run_places(self, text: str, start: int, end: int) -> Iterator[int]:
        """Yield both ends of each window that has blanks only, or no blank."""
        if not self._has_words:
            return
        for begin in range(start, end - RUN + 1, RUN):
            window = begin + RUN
            if not (BLANK.search(text, begin, window) and SOLID.search(text, begin, window)):
                yield begin
                yield window
