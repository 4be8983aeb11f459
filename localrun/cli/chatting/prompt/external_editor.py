"""The user's own editor, by $VISUAL or $EDITOR, on a private temporary file.

The file is removed afterwards. Ctrl-C belongs to the editor as long as it runs.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EDITORS = ("notepad",) if sys.platform == "win32" else ("editor", "nano", "vim", "vi")
MAX_BYTES = 64 << 20
HINT = "export EDITOR=nano   selects an editor"


def edit_text(text: str, environ: Mapping[str, str]) -> str:
    """Return the text that the user has saved; the final line end is removed. Blocks.

    Raises:
        UsageError: no editor can be started, it failed, or its file is not UTF-8 text.
    """
    with tempfile.TemporaryDirectory(prefix="localrun-") as folder:  # mode 0700
        path = Path(folder, "message.md")
        path.write_text(f"{text}\n" if text else "", encoding="utf-8", newline="\n")
        _run_editor(_command(environ), path)
        return _saved(path)


def _command(environ: Mapping[str, str]) -> list[str]:
    """Return the words of the editor's command.

    Raises:
        UsageError: the variable has an open quote, or there is no editor.
    """
    import shutil

    named = environ.get("VISUAL", "").strip() or environ.get("EDITOR", "").strip()
    if not named:
        editor = next((name for name in EDITORS if shutil.which(name)), None)
        if editor is None:
            raise UsageError("no editor was found", hint=HINT)
        return [editor]
    try:
        return shlex.split(named, posix=sys.platform != "win32")
    except ValueError as error:
        raise UsageError(f"VISUAL or EDITOR is not a command: {named}", hint=HINT) from error


def _run_editor(command: list[str], path: Path) -> None:
    try:
        with _ignored_interrupt():
            done = subprocess.run([*command, str(path)], check=False)  # noqa: S603 - the user's
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UsageError(f"cannot start the editor {command[0]}: {reason}", hint=HINT) from error
    if done.returncode:
        raise UsageError(
            f"the editor {command[0]} failed with exit code {done.returncode}",
            hint="the message is unchanged",
        )


def _saved(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError("the edited text is too large", hint="/file PATH   adds a file")
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except OSError as error:
        raise UsageError("the editor has removed the file", hint=HINT) from error
    except UnicodeDecodeError as error:
        raise UsageError("the edited text is not UTF-8", hint="save it as UTF-8") from error


@contextmanager
def _ignored_interrupt() -> Iterator[None]:
    """Ignore Ctrl-C here; a handler, unlike SIG_IGN, does not pass to the editor."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
