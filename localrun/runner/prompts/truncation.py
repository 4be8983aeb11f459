"""Fit a conversation into the context: leave out the oldest of it, and tell how much.

The system messages at the head and the last question stay. What goes is whole: first
turns (a user's message and all that answers it), oldest first, then, inside the last
turn, calls of tools with their results, but not the last ones. The least number of
these that makes room is found by bisection, as each try renders and tokenizes.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from localrun.engine.cache.radix import common_length

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.runner.messages import JsonObject

    Messages = Sequence[JsonObject]

ANSWER_SHARE = 8  # this part of the context is left to an answer of unknown length
LARGEST_RESERVE = 2  # and never more than this one
PROBE = "\ufdd1"  # a message that begins like no other: a noncharacter of Unicode


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as text and as tokens, and what was left out of it."""

    text: str
    tokens: list[int]
    dropped_messages: int = 0
    dropped_tokens: int = 0


def fitted(
    messages: Messages,
    write: Callable[[Messages], Prompt],
    *,
    num_ctx: int,
    num_predict: int | None,
) -> Prompt:
    """Return the prompt of the messages without the oldest, if they do not fit with an answer.

    One that does not fit even so is returned as well.
    """
    whole = write(messages)
    reserve = min(num_predict or num_ctx // ANSWER_SHARE, num_ctx // LARGEST_RESERVE)
    room = num_ctx - reserve
    groups = droppable(messages)
    if len(whole.tokens) <= room or not groups:
        return whole
    tried: dict[int, Prompt] = {}

    def fits(count: int) -> bool:
        tried[count] = write(_without(messages, groups[:count]))
        return len(tried[count].tokens) <= room

    count = bisect_left(range(1, len(groups)), 1, key=fits) + 1
    found = tried.get(count) or write(_without(messages, groups))  # the last resort is not tried
    return Prompt(
        found.text,
        found.tokens,
        dropped_messages=sum(map(len, groups[:count])),
        dropped_tokens=len(whole.tokens) - len(found.tokens),
    )


def droppable(messages: Messages) -> list[range]:
    """Return the places of what may go, in the order in which it goes."""
    roles = [message.get("role") for message in messages]
    head = _num_system(messages)
    turns = _groups(range(head, len(roles)), [role == "user" for role in roles])
    if not turns:
        return []
    *earlier, last = turns
    answered = range(last.start + 1, last.stop) if roles[last.start] == "user" else last
    return earlier + _groups(answered, [role != "tool" for role in roles])[:-1]


def num_kept(messages: Messages, tokens: Sequence[int], write: Callable[[Messages], Prompt]) -> int:
    """Return how many of the prompt's tokens come before the first message behind the system's."""
    system = messages[: _num_system(messages)]
    other = write([*system, {"role": "user", "content": PROBE}]).tokens
    return common_length(tokens, other)


def _num_system(messages: Messages) -> int:
    roles = (message.get("role") for message in messages)
    return next((place for place, role in enumerate(roles) if role != "system"), len(messages))


def _groups(places: range, is_first: Sequence[bool]) -> list[range]:
    """Cut a range before each place that is the first of a group."""
    cuts = [place for place in places[1:] if is_first[place]]
    edges = [places.start, *cuts, places.stop]
    return [range(*edge) for edge in pairwise(edges)] if places else []


def _without(messages: Messages, groups: Sequence[range]) -> list[JsonObject]:
    gone = {place for group in groups for place in group}
    return [message for place, message in enumerate(messages) if place not in gone]
