"""Ids of media tokens: negative numbers that stand for images and sounds in a token sequence.

Media have no tokens of the vocabulary. Each chunk of a medium gets a run of ids of its own, so that
prefix caches compare, share and count media as they do text:

    first token of a chunk     -(2 * number + 1)      odd
    the others                 -(2 * number + 2)      even

A chunk is never divided in a cache: a position is a border unless the token behind it is even
(`localrun.prefixes`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def ids_of_chunk(first_number: int, num_tokens: int) -> list[int]:
    """Return the ids of a chunk whose tokens are numbered from ``first_number``."""
    others = range(first_number + 1, first_number + num_tokens)
    return [-(2 * first_number + 1), *(-(2 * number + 2) for number in others)]


def number_of(first_id: int) -> int:
    """Return the number of a chunk's first token, given its id."""
    return (-first_id - 1) // 2


def text_only(tokens: Sequence[int]) -> list[int]:
    """Return the tokens of the vocabulary, without those of media."""
    return [token for token in tokens if token >= 0]
