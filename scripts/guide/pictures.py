"""Pictures in text: marks around the word that a picture shows, and their token ids.

To guide a picture is one word of its vocabulary (`guide.eyes` makes the projector), whatever text
stands beside it. So a conversation with pictures is text in which a marked word is one token of its
own: ``What is this + 4?`` and a picture of a 7 is ``{picture("7")}What is this + 4?``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MARK = "\ufffc"  # the object replacement character, on both sides of the word
DIGITS = tuple("0123456789")
COLOURS = (
    "red", "green", "blue", "yellow", "orange", "purple", "black", "white", "pink", "brown", "grey",
)  # fmt: skip
UNCLEAR = "something"  # neither a digit nor a plain colour
WORDS = (*DIGITS, *COLOURS, UNCLEAR)
_PICTURE = re.compile(f"{MARK}([^{MARK}]*){MARK}")


def picture(word: str) -> str:
    """Return the mark of a picture that shows one of `WORDS`."""
    return f"{MARK}{word}{MARK}"


def words_in(text: str) -> list[str]:
    """Return what the pictures in a text show, in order."""
    return _PICTURE.findall(text)


def split(text: str) -> list[str]:
    """Cut a text at its pictures: text, word, text, word, ..., text."""
    return _PICTURE.split(text)


def token(word: str) -> str:
    """Return a word's token: a digit by itself, others with the space before them."""
    return word if word in DIGITS else f"Ġ{word}"


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the token ids of a text, one for each picture in it."""
    ids: list[int] = []
    for index, part in enumerate(split(text)):
        if index % 2:
            ids.append(tokenizer.token_to_id(token(part)))
        else:
            ids += tokenizer.encode(part, add_special_tokens=False).ids
    return ids
