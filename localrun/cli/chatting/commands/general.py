"""Commands to leave a chat and to learn about the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.chatting.commands.table import ChatCommand
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.cli.chatting.chat import Chat

SHORTCUTS = """\
Enter            send                       Alt-Enter, Ctrl-J   a new line
Ctrl-C           stop the answer; empty the line; twice at an empty prompt: leave
Esc              stop the answer            Esc Esc             empty the line
Ctrl-D           leave                      Ctrl-L              clear the screen
Ctrl-R           search the history         Up, Down            older and newer messages
Ctrl-G           edit in $EDITOR            Ctrl-X Ctrl-E       edit in $EDITOR
Ctrl-O           fold and unfold thoughts and results of tools
Shift-Tab        change the mode of tools   Tab                 complete
Ctrl-A, Ctrl-E   begin, end of the line     Alt-B, Alt-F        back, forward by a word
Ctrl-W           delete a word              Ctrl-U, Ctrl-K      delete to the begin, to the end"""
LINES = 'Use """ to begin and end a message of several lines; a backslash at the end continues it.'


def leave(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all commands
    """End the chat."""
    chat.is_over = True


def show_help(chat: Chat, argument: str) -> None:
    """List all commands, those of a word, or the keys.

    Raises:
        UsageError: no such command.
    """
    from localrun.cli.chatting.commands.dispatch import COMMANDS as ALL

    word = argument.strip().lower().lstrip("/")
    if word == "shortcuts":
        chat.transcript.text(SHORTCUTS)
        return
    shown = [one for one in ALL if not word or _is_about(one, word)]
    if not shown:
        raise UsageError(f"{argument} is not a command", hint="/? lists the commands")
    chat.transcript.text("\n".join(_lines(shown)))
    if not word:
        chat.transcript.text(f"/? shortcuts lists the keys. {LINES}")


def _is_about(command: ChatCommand, word: str) -> bool:
    names = (command.name, *command.aliases)
    return any(name == f"/{word}" or name.startswith(f"/{word} ") for name in names)


def _lines(commands: Sequence[ChatCommand]) -> list[str]:
    usages = [f"{one.name} {one.usage}".rstrip() for one in commands]
    width = max(map(len, usages)) + 2
    return [
        f"{usage:<{width}}{one.about}{_also(one)}"
        for usage, one in zip(usages, commands, strict=True)
    ]


def _also(command: ChatCommand) -> str:
    return f" (also {', '.join(command.aliases)})" if command.aliases else ""


COMMANDS = (
    ChatCommand(
        name="/help",
        usage="[COMMAND|shortcuts]",
        about="list the commands, or the keys",
        execute=show_help,
        aliases=("/?",),
        arguments=(("set", "show", "shortcuts"),),
    ),
    ChatCommand(
        name="/bye",
        about="leave (also Ctrl-D)",
        execute=leave,
        aliases=("/exit", "/quit"),
    ),
)
