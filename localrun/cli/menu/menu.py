"""Menu of a bare ``localrun`` in a terminal."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from localrun.cli.output import is_terminal

if TYPE_CHECKING:
    from localrun.cli.menu.entries import MenuContent
    from localrun.conversations.message import ChatSummary


def can_show_menu() -> bool:
    """Return whether there is a terminal to read from and to print on."""
    return is_terminal(sys.stdin) and is_terminal(sys.stdout)


def choose_command() -> tuple[str, ...] | None:
    """Show the menu; return the arguments of the command, None if the user leaves."""
    from localrun.cli.menu.entries import menu_entries
    from localrun.cli.menu.picker import pick
    from localrun.warm.own_terminal import claim_terminal

    claim_terminal()
    entry = pick(menu_entries(_content()))
    return entry.arguments if entry is not None else None


def _content() -> MenuContent:
    from localrun.cli.chatting.remembered import read_last_chat
    from localrun.cli.fit import memory_bytes
    from localrun.cli.menu.entries import MenuContent
    from localrun.services.workspace import open_workspace

    workspace = open_workspace(os.environ)
    last = read_last_chat()
    return MenuContent(
        models=workspace.models.list_models(),
        catalog=workspace.catalog,
        memory_bytes=memory_bytes(),
        last_model=last.model if last is not None else None,
        last_chat=_last_chat(),
    )


def _last_chat() -> ChatSummary | None:
    """Return the last kept chat; without chats, the folder of chats is not made."""
    from localrun.conversations.location import open_conversations
    from localrun.errors import LocalrunError

    try:
        store = open_conversations(os.environ)
        return store.latest() if store.file.exists() else None
    except LocalrunError:
        return None
