"""Commands that start workers: `localrun worker` on another machine, or in a container.

    ssh gpu1                                  localrun worker is appended
    docker exec -i box localrun worker --     complete, because it ends in --

A worker is named by its command as the user wrote it. The command runs without a shell.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

WORKERS = "LOCALRUN_WORKERS"
MAX_WORKERS = 16  # GGML_RPC_MAX_SERVERS
FAR_PROGRAM = ("localrun", "worker")
COMPLETE = "--"
# A host that does not answer ends the command within seconds, and no question waits for an answer.
SSH_OPTIONS = {
    "ServerAliveInterval": "3",
    "ServerAliveCountMax": "2",
    "BatchMode": "yes",
    "ConnectTimeout": "8",
}
EXAMPLE = 'localrun serve --worker "ssh gpu1"'


@dataclass(frozen=True, slots=True)
class WorkerCommand:
    """The command of one worker."""

    name: str  # as the user wrote it
    arguments: tuple[str, ...]
    is_complete: bool  # it ended in --


def parse_commands(lines: Iterable[str]) -> tuple[WorkerCommand, ...]:
    """Return the commands, one a line; empty lines are skipped.

    Raises:
        UsageError: a line is no command, is there twice, or there are too many.
    """
    commands: dict[str, WorkerCommand] = {}
    for line in lines:
        command = _parse(line)
        if command is None:
            continue
        if command.name in commands:
            raise UsageError(f"the worker `{command.name}` is named twice", hint=EXAMPLE)
        commands[command.name] = command
    if len(commands) > MAX_WORKERS:
        raise UsageError(f"there are {len(commands)} workers, and llama.cpp has {MAX_WORKERS}")
    return tuple(commands.values())


def _parse(line: str) -> WorkerCommand | None:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(
            f"the worker `{line.strip()}` is no command: {error}", hint=EXAMPLE
        ) from error
    if not words:
        return None
    is_complete = words[-1] == COMPLETE
    words = words[:-1] if is_complete else [*words, *FAR_PROGRAM]
    if not words:
        raise UsageError(f"the worker `{line.strip()}` is no command", hint=EXAMPLE)
    if PurePath(words[0]).name == "ssh":
        words[1:1] = _missing_options(words)
    name = " ".join(line.split()).removesuffix(f" {COMPLETE}")
    return WorkerCommand(name, tuple(words), is_complete)


def _missing_options(words: list[str]) -> list[str]:
    """Return the options for ssh that its arguments do not set."""
    said = " ".join(words).lower()
    return [
        word
        for name, value in SSH_OPTIONS.items()
        if name.lower() not in said
        for word in ("-o", f"{name}={value}")
    ]
