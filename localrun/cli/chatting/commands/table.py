"""Table of the chat's commands: name, aliases, arguments, help, and the function that executes it.

Each module of this package has the commands of one group. Invariant: a name or alias occurs once;
all names are lower case and begin with a slash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.cli.chatting.chat import Chat
    from localrun.cli.chatting.prompt.sources import ArgumentKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCommand:
    """A command; ``execute`` gets the text after its name without outer white space.

    ``arguments`` says what may follow, for completion: a kind, or a tuple of fixed words.
    """

    name: str
    about: str
    execute: Callable[[Chat, str], None]
    aliases: tuple[str, ...] = ()
    usage: str = ""  # arguments as the help shows them: NAME [FILE]
    arguments: tuple[ArgumentKind | tuple[str, ...], ...] = ()
    repeats: bool = False
