"""Common prefixes of sequences: of token ids in the caches, of texts in chat templates.

An image or a sound is a run of negative ids in a list of tokens, the first odd and the others even
(`localrun.engine.media.token_ids`). A prefix ends at a border, never inside such a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


def common_prefix_length(first: Sequence[T], second: Sequence[T]) -> int:
    """Return the length of the common prefix of two sequences of the same type.

    Bisects by comparing slices, which C does; a loop in Python is twenty times slower.
    """
    low, high = 0, min(len(first), len(second))
    if first[:high] == second[:high]:
        return high
    while high - low > 1:  # [0, low) is common, [0, high) is not
        middle = (low + high) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle
    return low


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
