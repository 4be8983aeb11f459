"""``localrun chats``: the kept chats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.chats.changing import chats_export, chats_remove
from localrun.cli.chats.reading import chats_list, chats_search, chats_show

if TYPE_CHECKING:
    from collections.abc import Callable

ABOUT_CHATS = "List, show, search, export and remove kept chats."
CHATS_COMMANDS: dict[str, Callable[..., None]] = {
    "list": chats_list,
    "show": chats_show,
    "search": chats_search,
    "export": chats_export,
    "rm": chats_remove,
}
