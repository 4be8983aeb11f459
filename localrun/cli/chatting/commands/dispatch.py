"""Dispatch of commands: a line that begins with a slash, its command, and the nearest known one.

Commands have one word or two (``/set parameter``). A message that begins with a path, such as
/etc/hosts, is no command: its first word has a second slash, or names a file of this machine.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.cli.chatting.commands import (
    answers,
    context,
    conversations,
    files,
    general,
    models,
    settings,
    tools,
)
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.cli.chatting.chat import Chat
    from localrun.cli.chatting.commands.table import ChatCommand

COMMANDS: tuple[ChatCommand, ...] = (
    *conversations.COMMANDS,
    *answers.COMMANDS,
    *context.COMMANDS,
    *files.COMMANDS,
    *settings.COMMANDS,
    *models.COMMANDS,
    *tools.COMMANDS,
    *general.COMMANDS,
)
LONGEST_NAME = 40  # characters compared with known names


def run_command(chat: Chat, text: str) -> bool:
    """Execute a command; return False if the text is a message.

    Raises:
        UsageError: no such command; the hint has the nearest.
        LocalrunError: the command failed.
    """
    word, _, rest = text.strip().partition(" ")
    known = by_name()
    if not word.startswith("/") or (word.lower() not in known and is_path(word)):
        return False
    second, _, argument = rest.strip().partition(" ")
    command = known.get(f"{word} {second}".lower())
    if command is None:
        command, argument = known.get(word.lower()), rest
    if command is None:
        raise UsageError(f"unknown command '{word}'", hint=_hint(word, known))
    command.execute(chat, argument.strip())
    return True


def by_name() -> dict[str, ChatCommand]:
    """Return all commands by their names and aliases."""
    return {name: one for one in COMMANDS for name in (one.name, *one.aliases)}


def is_path(word: str) -> bool:
    """Return whether a word that begins with a slash is a path."""
    if "/" in word[1:]:
        return True
    try:
        return Path(word).exists()
    except (OSError, ValueError):  # too long for a name, or with a null character
        return False


def _hint(word: str, known: dict[str, ChatCommand]) -> str:
    near = difflib.get_close_matches(word.lower()[:LONGEST_NAME], known, n=1)
    return f"did you mean {near[0]}? Type /? for help" if near else "Type /? for help"
