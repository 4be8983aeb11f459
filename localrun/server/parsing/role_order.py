"""Message order that chat templates require: alternating roles, system messages at the head only.

Anthropic's API and OpenAI's Responses API allow consecutive messages of one role, and system
messages in the middle of a conversation.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from localrun.chat.media_marks import media_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.runner.messages import JsonObject

BETWEEN_BLOCKS = "\n\n"
# Claude Code's own form of such text, for models without system messages in the middle
REMINDER = "<system-reminder>\n{}\n</system-reminder>"


def reminder(texts: Iterable[str]) -> JsonObject:
    """Return a system message from the middle of a conversation as a user message.

    Moved to the head, where templates want it, it would change the beginning of a prompt that is
    in the prefix cache already.
    """
    return {"role": "user", "content": REMINDER.format(BETWEEN_BLOCKS.join(texts))}


def with_head(system: Iterable[str], turns: Iterable[JsonObject]) -> tuple[JsonObject, ...]:
    """Return one system message, unless its text is empty, and the merged turns after it."""
    text = BETWEEN_BLOCKS.join(filter(None, system))
    head = [{"role": "system", "content": text}] if text else []
    return (*head, *merged(turns))


def merged(turns: Iterable[JsonObject]) -> list[JsonObject]:
    """Merge consecutive messages of one role; tool results stay separate."""
    merged: list[JsonObject] = []
    for role, neighbours in groupby(turns, lambda turn: turn["role"]):
        run = list(neighbours)
        merged += run if role == "tool" or len(run) == 1 else [_joined(run)]
    return merged


def given(**fields: object) -> JsonObject:
    """Return the fields whose values are not empty."""
    return {name: value for name, value in fields.items() if value}


def _joined(run: list[JsonObject]) -> JsonObject:
    def texts_of(name: str) -> str:
        return BETWEEN_BLOCKS.join(filter(None, (turn.get(name) for turn in run)))

    calls = [call for turn in run for call in turn.get("tool_calls", ())]
    joined: JsonObject = {"role": run[0]["role"], "content": texts_of("content")}
    return joined | given(
        reasoning_content=texts_of("reasoning_content"), tool_calls=calls, media=media_of(run)
    )
