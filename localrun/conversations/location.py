"""Settings of the kept chats.

LOCALRUN_CHATS    their folder; the default is ``~/.local/share/localrun/chats``
LOCALRUN_NOSAVE   1: no chat is kept
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.access import expanded_path
from localrun.conversations.store import ConversationStore
from localrun.folders import data_folder
from localrun.variables import read_switch

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = "chats"
VARIABLE = "LOCALRUN_CHATS"
NO_SAVE = "LOCALRUN_NOSAVE"


def open_conversations(environ: Mapping[str, str]) -> ConversationStore:
    """Return the store of kept chats; nothing is opened before its first operation.

    Raises:
        UsageError: the variable names a user who does not exist.
    """
    named = environ.get(VARIABLE)
    return ConversationStore(expanded_path(VARIABLE, named) if named else data_folder() / FOLDER)


def keeps_chats(environ: Mapping[str, str]) -> bool:
    """Return whether chats are kept.

    Raises:
        UsageError: the variable is neither yes nor no.
    """
    return not read_switch(environ, NO_SAVE)
