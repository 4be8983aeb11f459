"""Command lines of ours, parsed as the program parses them, without running them."""

from __future__ import annotations

import contextlib
import re
import shlex
from typing import TYPE_CHECKING

from typer import Exit

from localrun.cli.app import command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = {"localrun", "./localrun", "dist/localrun"}
SEPARATORS = {"|", "||", "&&", ";", "&", "(", ")", "\n"}
ASSIGNMENT = re.compile(r"[A-Z_]+=.*", re.DOTALL)
REDIRECTION = re.compile(r"[<>&]+")


def our_commands(script: str) -> Iterator[list[str]]:
    """Yield the arguments of each command of ours in a script of the shell."""
    for line in script.replace("\\\n", " ").splitlines():
        for words in _simple_commands(line):
            while words and ASSIGNMENT.fullmatch(words[0]):
                words.pop(0)
            if words and words[0] in PROGRAMS:
                yield words[1:]


def check(words: list[str], *, is_mention: bool = False) -> None:
    """Parse a command; a mention may lack the arguments.

    Raises:
        typer's exceptions: there is no such command, option or value.
    """
    command, path = command_line(), ["localrun"]
    while hasattr(command, "commands") and words:
        name, *words = words
        if name.startswith("-"):
            return  # an option of the program, such as --version
        assert name in command.commands, f"there is no command {' '.join([*path, name])}"
        command = command.commands[name]
        path.append(name)
    if words or not is_mention:
        with contextlib.suppress(Exit):  # an option such as --help
            command.make_context(" ".join(path), words)


def _simple_commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
    lexer.whitespace_split = True
    words: list[str] = []
    is_target = False
    for word in lexer:
        if word in SEPARATORS:
            yield words
            words = []
        elif REDIRECTION.fullmatch(word):
            is_target = True
        elif is_target:
            is_target = False
        else:
            words.append(word)
    yield words
