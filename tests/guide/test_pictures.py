"""Pictures in the corpus: a marked word is one token, and what pictures show is described."""

from __future__ import annotations

from pathlib import Path

import pytest
from guide import pictures
from guide.skills.pictures import NOT_KNOWN, describe
from tokenizers import Tokenizer

TOKENIZER = Path(__file__).parents[2] / "scripts" / "guide" / "tokenizer.json"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(TOKENIZER))


@pytest.mark.parametrize("word", pictures.WORDS)
def test_every_word_of_a_picture_is_one_token(tokenizer: Tokenizer, word: str) -> None:
    (token,) = pictures.encode(tokenizer, pictures.picture(word))

    assert tokenizer.decode([token]).strip() == word


def test_a_picture_leaves_the_tokens_beside_it_as_they_are(tokenizer: Tokenizer) -> None:
    first, after = (tokenizer.encode(text).ids for text in ("Look: ", "What is it?"))
    seen = pictures.picture("blue")

    ids = pictures.encode(tokenizer, f"Look: {seen}What is it?")

    assert ids == [*first, tokenizer.token_to_id(pictures.token("blue")), *after]


def test_words_and_texts_of_a_message_are_found_in_order() -> None:
    text = f"{pictures.picture('7')}and{pictures.picture('red')}"

    assert pictures.words_in(text) == ["7", "red"]
    assert pictures.split(text) == ["", "7", "and", "red", ""]


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (["7"], "The digit 7."),
        (["red", "blue"], "The colours red and blue."),
        (["6", "3", "1"], "The digits 6, 3 and 1."),
        (["red", "4"], "The colour red and the digit 4."),
        (["4", pictures.UNCLEAR], NOT_KNOWN),
    ],
)
def test_what_pictures_show_is_described(shown: list[str], text: str) -> None:
    assert describe(shown) == text
