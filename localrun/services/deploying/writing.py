"""Files of a deployment on disk: all or an error, and those with a key are private."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from localrun.disk import storage_errors
from localrun.errors import UsageError
from localrun.private import open_private
from localrun.system.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localrun.deploy.description import DeployFile


def write_files(files: Sequence[DeployFile], folder: Path, *, is_forced: bool = False) -> None:
    """Write files to a folder, which is created.

    Raises:
        UsageError: a file exists with another content, and ``is_forced`` is False; nothing is
            written.
        StorageError: the folder cannot be written.
    """
    with storage_errors(folder):
        changed = [each.name for each in files if _differs(folder / each.name, each.text)]
    if changed and not is_forced:
        raise UsageError(
            f"{folder} has other content in {', '.join(changed)}", hint="--force   replaces it"
        )
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for each in files:
            _write(folder / each.name, each.text, is_private=each.is_private)


def _differs(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") != text
    except FileNotFoundError:
        return False
    except UnicodeDecodeError:
        return True


def _write(path: Path, text: str, *, is_private: bool) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    opener = open_private if is_private else None
    with open(partial, "w", encoding="utf-8", newline="\n", opener=opener) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    replace_file(partial, path)
