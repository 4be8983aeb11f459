"""Prompts that no cache knows: random words, and random ids of the tokens of such words.

Tokens of words are used, and no others, since a control token would end or change an answer.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = """
time year people way day man thing woman life child world school state family student group
country problem hand part place case week company system program question work government
number night point home water room mother area money story fact month lot right study book
eye job word business issue side kind head house service friend father power hour game line
end member law car city community name president team minute idea kid body information back
parent face others level office door health person art war history party result change
morning reason research girl guy moment air teacher force education
"""
WORDS = tuple(TEXT.split())


class RandomPrompts:
    """Prompts of one run, the same for the same seed."""

    def __init__(self, seed: int, token_ids: Sequence[int] = ()) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        self._token_ids = list(dict.fromkeys(token_ids))

    @property
    def has_ids(self) -> bool:
        """Return whether prompts of ids can be made."""
        return bool(self._token_ids)

    def ids(self, num_tokens: int) -> list[int]:
        """Return so many random ids."""
        return self._random.choices(self._token_ids, k=num_tokens)

    def text(self, num_words: int) -> str:
        """Return so many random words."""
        return " ".join(self._random.choices(WORDS, k=num_words))


def all_words() -> str:
    """Return the text whose tokens are used."""
    return " ".join(WORDS)
