"""Kept chat that ``run`` goes on with, by ``--continue`` or ``--chat``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from localrun.conversations.location import open_conversations
from localrun.errors import ConversationNotFoundError, UsageError

if TYPE_CHECKING:
    from localrun.conversations.message import ChatSummary


def find_chat(chat_id: str | None, *, is_last: bool) -> ChatSummary | None:
    """Return the chat to go on with, None if ``run`` begins a new one.

    Raises:
        ConversationNotFoundError: there is no such chat, or none is kept yet.
        UsageError: both are asked for, or the id is not unique.
    """
    if chat_id is None and not is_last:
        return None
    if chat_id is not None and is_last:
        raise UsageError("--continue and --chat exclude each other", hint="localrun chats list")
    store = open_conversations(os.environ)
    if chat_id is not None:
        return store.find(chat_id)
    latest = store.latest()
    if latest is None:
        raise ConversationNotFoundError(
            "no chat is kept yet", hint="localrun run guide   starts the first"
        )
    return latest
