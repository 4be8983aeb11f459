"""Fixed texts are found as a plain alternation of the longest first would find them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.llama import text_search as module
from localrun.engine.llama.text_search import MultiStringSearch
from tests.measuring import grows_linearly

TEXTS = st.lists(st.text(alphabet="ab<|.", min_size=0, max_size=12), max_size=12)


@given(TEXTS, st.text(alphabet="ab<|.", max_size=80), st.integers(1, 30))
def test_the_longest_is_found_from_left_to_right(texts: list[str], text: str, window: int) -> None:
    longest_first = sorted(filter(None, texts), key=len, reverse=True)
    plain = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
    whole, module.WINDOW = module.WINDOW, window

    try:
        found = [match.span() for match in MultiStringSearch(texts).find(text)]
    finally:
        module.WINDOW = whole

    assert found == [match.span() for match in plain.finditer(text)]


def test_a_text_costs_as_much_with_a_thousand_tokens_as_with_a_few() -> None:
    def search(num_texts: int) -> None:
        texts = [f"<|reserved_{number}|>" for number in range(num_texts)]
        list(MultiStringSearch(texts).find("<|" * 2000))

    assert grows_linearly(search, 250)


def test_texts_that_are_beginnings_of_each_other_compile_however_many() -> None:
    texts = ["a" * length for length in range(1, 3000, 7)]

    found = [match.span() for match in MultiStringSearch(texts).find("b" + "a" * 100)]

    assert found == [(1, 100), (100, 101)]
