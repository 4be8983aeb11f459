"""Clipboard: text from a chat to where the user pastes it.

Over ssh the terminal itself takes the text, by the escape sequence OSC 52; on this machine a
program of the desktop does. Nothing is read from the clipboard.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_OSC52_BYTES = 74_994  # of text: terminals take sequences of at most 100,000 characters
TIMEOUT_S = 5
# program, variable that it needs, arguments
PROGRAMS = (
    ("pbcopy", "", ()),
    ("clip.exe", "", ()),
    ("wl-copy", "WAYLAND_DISPLAY", ()),
    ("xclip", "DISPLAY", ("-selection", "clipboard")),
    ("xsel", "DISPLAY", ("--clipboard", "--input")),
)


def copy_text(text: str, environ: Mapping[str, str], write: Callable[[str], None]) -> str:
    """Copy a text; return how, as the end of a sentence.

    ``write`` writes to the terminal.

    Raises:
        UsageError: the text is too long for the terminal, and no program takes it.
    """
    is_remote = any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY"))
    program = None if is_remote else _program(environ)
    if program is not None and _run(program, text, environ):
        return f"by {program[0]}"
    content = text.encode()
    if len(content) > MAX_OSC52_BYTES:
        raise UsageError(
            f"{len(content)} bytes are too many for the clipboard of a terminal",
            hint="/export md FILE   writes the chat to a file",
        )
    write(_sequence(content, environ))
    return "by the terminal (OSC 52), if it allows that"


def _program(environ: Mapping[str, str]) -> tuple[str, tuple[str, ...]] | None:
    for name, variable, arguments in PROGRAMS:
        path = shutil.which(name, path=environ.get("PATH"))
        if path and (not variable or environ.get(variable)):
            return name, (path, *arguments)
    return None


def _run(program: tuple[str, tuple[str, ...]], text: str, environ: Mapping[str, str]) -> bool:
    """Return whether the program took the text; some stay to serve it to others."""
    encoding = "utf-16-le" if program[0] == "clip.exe" else "utf-8"  # also in WSL
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, and no shell
            program[1],
            input=text.encode(encoding),
            env=dict(environ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _sequence(content: bytes, environ: Mapping[str, str]) -> str:
    sequence = f"\033]52;c;{base64.b64encode(content).decode()}\a"
    if environ.get("TMUX"):  # passes it on, or takes it: only one of both may be allowed
        return "\033Ptmux;" + sequence.replace("\033", "\033\033") + "\033\\" + sequence
    return sequence
