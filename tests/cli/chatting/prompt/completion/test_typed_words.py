from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.cli.chatting.prompt.completion.typed_words import (
    TypedWords,
    quoted_word,
    typed_words,
)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", TypedWords((), "", 0)),
        ("/mo", TypedWords((), "/mo", 0)),
        ("/set  par", TypedWords(("/set",), "par", 6)),
        ("/file a ", TypedWords(("/file", "a"), "", 8)),
        ('/file "my notes" b', TypedWords(("/file", "my notes"), "b", 17)),
        ('/file "my no', TypedWords(("/file",), "my no", 6)),
        ("/file 'a b", TypedWords(("/file",), "a b", 6)),
        ("/file my\\ no", TypedWords(("/file",), "my no", 6)),
        ("it's", TypedWords((), "it's", 0)),
    ],
)
def test_words_are_separated_by_blanks_outside_quotes(line: str, words: TypedWords) -> None:
    assert typed_words(line) == words


@given(st.text(alphabet=" ab\"'\\é", min_size=1, max_size=12))
def test_a_quoted_word_is_read_back(word: str) -> None:
    assert typed_words(quoted_word(word)).current == word
