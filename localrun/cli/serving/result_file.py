"""Result of ``run``: on stdout, or in the file of ``--output``.

Invariant: the file has the whole result, or is as it was before.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.cli.output import Output
from localrun.disk import storage_errors, temporary_beside, write_all
from localrun.errors import StorageError, UsageError
from localrun.system.files import replace_file

if TYPE_CHECKING:
    from localrun.cli.serving.answer import ChatOptions

STDOUT = "-"


def check_output(name: str | None) -> Path | None:
    """Return the file of ``--output``, None for stdout.

    Raises:
        UsageError: it is a folder, or its folder does not exist.
        StorageError: it cannot be written.
    """
    if name is None or name == STDOUT:
        return None
    path = Path(name).absolute()
    if path.is_dir():
        raise UsageError(f"--output {name} is a folder", hint=f"--output {name}/answer.txt")
    if not path.parent.is_dir():
        raise UsageError(f"--output {name}: there is no folder {path.parent}")
    written = path if path.exists() and not path.is_file() else path.resolve().parent
    if not os.access(written, os.W_OK):  # before the model has worked for an answer
        raise StorageError(f"--output {name}: {written} is not writable")
    return path


def print_text(options: ChatOptions, text: str) -> None:
    """Print a result.

    Raises:
        StorageError: the file cannot be written.
    """
    if options.output_file is None:
        Output().piece(text)
    else:
        write_result(options.output_file, text)


def print_json(options: ChatOptions, value: dict[str, Any]) -> None:
    """Print a result as JSON.

    Raises:
        StorageError: the file cannot be written.
    """
    if options.output_file is None:
        Output().json(value)
    else:
        write_result(options.output_file, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_result(path: Path, text: str) -> None:
    """Write a file in place of another; a device or a pipe gets the text itself.

    Raises:
        StorageError: the file cannot be written.
    """
    content = text.encode()
    with storage_errors(path):
        if path.exists() and not path.is_file():
            with path.open("wb", buffering=0) as device:
                write_all(device, content)
            return
        target = path.resolve() if path.is_symlink() else path
        temporary = temporary_beside(target)
        try:
            with temporary.open("wb", buffering=0) as file:
                write_all(file, content)
                _copy_mode(target, temporary)
                os.fsync(file.fileno())
            replace_file(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


def _copy_mode(target: Path, temporary: Path) -> None:
    if target.exists() and sys.platform != "win32":
        temporary.chmod(target.stat().st_mode & 0o777)
