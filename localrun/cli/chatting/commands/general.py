"""Commands to leave a chat and to list the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.chatting.commands.table import ChatCommand

if TYPE_CHECKING:
    from localrun.cli.chatting.chat import Chat


def _leave(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all commands
    chat.is_over = True


def _clear(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all commands
    chat.session.clear()


COMMANDS = (
    ChatCommand(name="/bye", about="leave", execute=_leave, aliases=("/exit", "/quit")),
    ChatCommand(name="/clear", about="start a new conversation", execute=_clear),
)
