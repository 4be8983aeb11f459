"""Ids of media tokens: negative numbers that stand for images and sounds in a token sequence.

Media have no tokens of the vocabulary. Each chunk of a medium gets a run of ids of its own, so that
prefix caches compare, share and count media as they do text:

    first token of a chunk     -(2 * number + 1)      odd
    the others                 -(2 * number + 2)      even

A chunk is never divided in a cache: a position is a border unless the token behind it is even.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def ids_of_chunk(first_number: int, num_tokens: int) -> list[int]:
    """Return the ids of a chunk whose tokens are numbered from ``first_number``."""
    others = range(first_number + 1, first_number + num_tokens)
    return [-(2 * first_number + 1), *(-(2 * number + 2) for number in others)]


def is_inside(token: int) -> bool:
    """Return whether a token continues a chunk, so that no border is before it."""
    return token < 0 and token % 2 == 0


def border_before(tokens: Sequence[int], position: int) -> int:
    """Return the last border at or before a position: the position itself if it is one."""
    if position >= len(tokens):
        return position
    while is_inside(tokens[position]):
        position -= 1
    return position


def border_behind(tokens: Sequence[int], position: int) -> int:
    """Return the first border at or behind a position; the end of the tokens is one."""
    while position < len(tokens) and is_inside(tokens[position]):
        position += 1
    return position


def text_only(tokens: Sequence[int]) -> list[int]:
    """Return the tokens of the vocabulary, without those of media."""
    return [token for token in tokens if token >= 0]
