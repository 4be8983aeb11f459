"""Truncation of a conversation: drops the oldest messages until it fits the context window.

The leading system messages and the last user message stay. Messages are dropped in groups:
first whole turns (a user message and all replies to it), oldest first; then, inside the last
turn, tool calls with their results, except the last ones. The smallest sufficient number of
groups is found by bisection, because each trial renders and tokenizes.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from localrun.prefixes import common_prefix_length

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.engine.media.placement import PlacedChunk
    from localrun.runner.messages import JsonObject

    Messages = Sequence[JsonObject]

RESERVE_SHARE = 8  # one in so many tokens of the context is reserved if num_predict is not set
MAX_RESERVE_SHARE = 2  # upper bound of the reserve if num_predict is set
PROBE = "\ufdd1"  # a message that shares no first character with others: a noncharacter


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as text and as tokens, and how much was dropped from it."""

    text: str
    tokens: list[int]
    dropped_messages: int = 0
    dropped_tokens: int = 0
    media: tuple[PlacedChunk, ...] = ()  # images and sounds among the tokens


def fitted(
    messages: Messages,
    write: Callable[[Messages], Prompt],
    *,
    num_ctx: int,
    num_predict: int | None,
) -> Prompt:
    """Return the prompt of the messages, without the oldest if it does not fit with a reply.

    A prompt that does not fit even then is returned as it is.
    """
    whole = write(messages)
    reserve = min(num_predict or num_ctx // RESERVE_SHARE, num_ctx // MAX_RESERVE_SHARE)
    room = num_ctx - reserve
    groups = droppable(messages)
    if len(whole.tokens) <= room or not groups:
        return whole
    tried: dict[int, Prompt] = {}

    def fits(count: int) -> bool:
        tried[count] = write(_without(messages, groups[:count]))
        return len(tried[count].tokens) <= room

    count = bisect_left(range(1, len(groups)), 1, key=fits) + 1
    # bisection never tries to drop all groups
    prompt = tried.get(count) or write(_without(messages, groups))
    return replace(
        prompt,
        dropped_messages=sum(map(len, groups[:count])),
        dropped_tokens=len(whole.tokens) - len(prompt.tokens),
    )


def droppable(messages: Messages) -> list[range]:
    """Return the indexes of the messages of each droppable group, in the order of dropping."""
    roles = [message.get("role") for message in messages]
    head = _num_system(messages)
    turns = _groups(range(head, len(roles)), [role == "user" for role in roles])
    if not turns:
        return []
    *earlier, last = turns
    answered = range(last.start + 1, last.stop) if roles[last.start] == "user" else last
    return earlier + _groups(answered, [role != "tool" for role in roles])[:-1]


def num_kept(messages: Messages, tokens: Sequence[int], write: Callable[[Messages], Prompt]) -> int:
    """Return the number of prompt tokens before the first message that is not a system message."""
    system = messages[: _num_system(messages)]
    probe_tokens = write([*system, {"role": "user", "content": PROBE}]).tokens
    return common_prefix_length(tokens, probe_tokens)


def _num_system(messages: Messages) -> int:
    roles = (message.get("role") for message in messages)
    return next((index for index, role in enumerate(roles) if role != "system"), len(messages))


def _groups(indexes: range, is_first: Sequence[bool]) -> list[range]:
    """Split a range before each index that starts a group."""
    cuts = [index for index in indexes[1:] if is_first[index]]
    edges = [indexes.start, *cuts, indexes.stop]
    return [range(*edge) for edge in pairwise(edges)] if indexes else []


def _without(messages: Messages, groups: Sequence[range]) -> list[JsonObject]:
    dropped = {index for group in groups for index in group}
    return [message for index, message in enumerate(messages) if index not in dropped]
