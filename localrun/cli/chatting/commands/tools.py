"""Commands for tools and skills."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.chatting.commands.table import ChatCommand

if TYPE_CHECKING:
    from localrun.cli.chatting.chat import Chat

NO_TOOLS = "This chat has no tools: localrun run MODEL --tools, or --mcp FILE."


def list_tools(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all commands
    """List the tools, and how their calls are permitted."""
    chat.transcript.text(NO_TOOLS if chat.tools is None else chat.tools.describe())


def list_skills(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all commands
    """List the skills."""
    chat.transcript.text(NO_TOOLS if chat.tools is None else chat.tools.describe_skills())


COMMANDS = (
    ChatCommand(name="/tools", about="list the tools", execute=list_tools),
    ChatCommand(name="/skills", about="list the skills", execute=list_skills),
)
