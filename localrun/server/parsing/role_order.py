"""What templates want of messages: roles that take turns, and a system that speaks first.

Anthropic's and OpenAI's newer APIs let messages of one role follow each other, and let
the system speak in the middle.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.server.parsing.fields import JsonObject

BETWEEN_BLOCKS = "\n\n"
# what Claude Code itself puts around such text where a model takes no later system message
REMINDER = "<system-reminder>\n{}\n</system-reminder>"


def reminder(texts: Iterable[str]) -> JsonObject:
    """Return what the system says in the middle, as a message of the user's.

    At the head, where templates want it, it would change the beginning of a prompt that
    is computed already.
    """
    return {"role": "user", "content": REMINDER.format(BETWEEN_BLOCKS.join(texts))}


def with_head(system: Iterable[str], turns: Iterable[JsonObject]) -> tuple[JsonObject, ...]:
    """Return one message of the system's, if it says anything, and the turns after it."""
    text = BETWEEN_BLOCKS.join(filter(None, system))
    head = [{"role": "system", "content": text}] if text else []
    return (*head, *merged(turns))


def merged(turns: Iterable[JsonObject]) -> list[JsonObject]:
    """Make one message of neighbours of one role; results of tools stay apart."""
    merged: list[JsonObject] = []
    for role, neighbours in groupby(turns, lambda turn: turn["role"]):
        run = list(neighbours)
        merged += run if role == "tool" or len(run) == 1 else [_joined(run)]
    return merged


def given(**fields: object) -> JsonObject:
    """Return the fields that hold something."""
    return {name: value for name, value in fields.items() if value}


def _joined(run: list[JsonObject]) -> JsonObject:
    def all_of(name: str) -> str:
        return BETWEEN_BLOCKS.join(filter(None, (turn.get(name) for turn in run)))

    calls = [call for turn in run for call in turn.get("tool_calls", ())]
    joined: JsonObject = {"role": run[0]["role"], "content": all_of("content")}
    return joined | given(reasoning_content=all_of("reasoning_content"), tool_calls=calls)
