"""Folder of the kept chats: ``~/.local/share/localrun/chats``, or that of ``LOCALRUN_CHATS``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.access import expanded_path
from localrun.conversations.store import ConversationStore
from localrun.folders import data_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "chats"
VARIABLE = "LOCALRUN_CHATS"


def open_conversations(environ: Mapping[str, str]) -> ConversationStore:
    """Return the store of kept chats; nothing is opened before its first operation.

    Raises:
        UsageError: the variable names a user who does not exist.
    """
    named = environ.get(VARIABLE)
    return ConversationStore(expanded_path(VARIABLE, named) if named else data_folder() / FOLDER)
