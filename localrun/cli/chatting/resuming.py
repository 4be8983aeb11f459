"""Kept chat that ``run`` goes on with, by ``--continue`` or ``--chat``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.conversations.store import ConversationStore
from localrun.errors import ConversationNotFoundError, UsageError
from localrun.folders import data_folder

if TYPE_CHECKING:
    from localrun.conversations.message import ChatSummary

FOLDER = "chats"


def open_store() -> ConversationStore:
    """Return the store of this user's chats; nothing is read or written yet."""
    return ConversationStore(data_folder() / FOLDER)


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
    store = open_store()
    if chat_id is not None:
        return store.find(chat_id)
    latest = store.latest()
    if latest is None:
        raise ConversationNotFoundError(
            "no chat is kept yet", hint="localrun run guide   starts the first"
        )
    return latest
