"""Completion of the ids of kept chats by the shell's Tab key."""

from __future__ import annotations

NUM_PROPOSED = 50


def complete_chat(incomplete: str) -> list[str]:
    """Return the ids of the last chats that begin with a text; prints nothing."""
    import logging
    import os

    from localrun.conversations.location import open_conversations
    from localrun.errors import LocalrunError

    logging.disable()
    try:
        chats = open_conversations(os.environ).chats(NUM_PROPOSED)
    except (LocalrunError, OSError):
        return []
    return [chat.id for chat in chats if chat.id.startswith(incomplete)]
