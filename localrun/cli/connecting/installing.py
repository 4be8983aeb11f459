"""Program of a tool: found on the path, or installed after a question."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.cli.output import confirms, is_terminal
from localrun.errors import LocalrunError, NotFoundError

if TYPE_CHECKING:
    from localrun.cli.output import Output
    from localrun.integrations.tool import Integration

USUAL_FOLDERS = (".local/bin", "bin", ".npm-global/bin", ".opencode/bin", ".claude/local")


class InstallError(LocalrunError):
    """The command that installs a tool failed."""


def find_program(tool: Integration, output: Output, is_sure: bool) -> str:
    """Return the path of a tool's program; offers to install it.

    Raises:
        NotFoundError: it is not installed; the hint is the command that installs it.
        InstallError: the command failed.
    """
    found = _path_of(tool.program)
    if found is not None:
        return found
    command = next((words for words in tool.install if shutil.which(words[0])), None)
    missing = NotFoundError(f"{tool.title} is not installed: no program {tool.program} on the path")
    if command is None:
        missing.hint = _by_hand(tool)
        raise missing
    missing.hint = f"{shlex.join(command)}   or localrun launch {tool.name} --yes"
    output.note(f"{tool.title} is not installed. This command installs it:")
    output.note(f"  {shlex.join(command)}")
    if not is_sure and not (is_terminal(sys.stdin) and confirms("Run it?")):
        raise missing
    _install(command)
    found = _path_of(tool.program)
    if found is None:
        raise InstallError(
            f"{shlex.join(command)} ended without {tool.program} on the path",
            hint="open a new terminal, which reads the path again",
        )
    return found


def _path_of(program: str) -> str | None:
    found = shutil.which(program)
    if found is not None:
        return found
    home = Path.home()
    folders = os.pathsep.join(str(home / folder) for folder in USUAL_FOLDERS)
    return shutil.which(program, path=folders)


def _install(command: tuple[str, ...]) -> None:
    program = shutil.which(command[0]) or command[0]  # npm is npm.cmd on Windows
    try:
        done = subprocess.run([program, *command[1:]], check=False)  # noqa: S603 - shown before
    except OSError as error:
        raise InstallError(f"{command[0]} cannot be started: {error.strerror}") from error
    if done.returncode != 0:
        raise InstallError(f"{shlex.join(command)} failed", hint="its output names the reason")


def _by_hand(tool: Integration) -> str:
    if not tool.install:
        return f"install {tool.title} by its own documentation"
    return f"{shlex.join(tool.install[0])}   installs it, and needs {tool.install[0][0]}"
