"""Dispatch of commands: a line that begins with a slash, its command, and the nearest known one.

A message that begins with a path, such as /etc/hosts, is no command: its first word has a second
slash, or names a file of this machine.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from localrun.cli.chatting.commands.general import COMMANDS as GENERAL
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.cli.chatting.chat import Chat
    from localrun.cli.chatting.commands.table import ChatCommand

COMMANDS: tuple[ChatCommand, ...] = GENERAL
LONGEST_NAME = 40  # characters compared with known names


def run_command(chat: Chat, text: str) -> bool:
    """Execute a command; return False if the text is a message.

    Raises:
        UsageError: no such command; the hint has the nearest.
        LocalrunError: the command failed.
    """
    word, _, argument = text.strip().partition(" ")
    if not word.startswith("/") or is_path(word):
        return False
    known = by_name()
    command = known.get(word.lower())
    if command is None:
        near = difflib.get_close_matches(word.lower()[:LONGEST_NAME], known, n=1)
        hint = f"did you mean {near[0]}? /? lists the commands" if near else "/? lists the commands"
        raise UsageError(f"{word} is not a command", hint=hint)
    command.execute(chat, argument.strip())
    return True


def by_name() -> dict[str, ChatCommand]:
    """Return all commands by their names and aliases."""
    return {name: one for one in COMMANDS for name in (one.name, *one.aliases)}


def is_path(word: str) -> bool:
    """Return whether a word that begins with a slash is a path."""
    return "/" in word[1:]
