"""What no other API has a field for: the object ``localrun`` of an answer's end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.server.core.request import AnswerFinished
    from localrun.server.parsing.fields import JsonObject


def extension(done: list[AnswerFinished]) -> JsonObject:
    """Return how much the context had no room for, nothing where it all fitted."""
    messages = max((one.started.dropped_messages for one in done), default=0)
    tokens = max((one.dropped_tokens for one in done), default=0)
    if not (messages or tokens):
        return {}
    return {"localrun": {"dropped_messages": messages, "dropped_tokens": tokens}}
