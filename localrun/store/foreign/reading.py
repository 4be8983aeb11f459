"""Read-only access to files and folders of other programs.

Their content is untrusted: links may form loops, a manifest may be a pipe or have gigabytes, names
may not be text. Only regular files are opened, and only for reading; the access time is the only
trace.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.store.foreign.model import ForeignFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.store.foreign.model import FileRole

LARGEST_TEXT = 4 * 1024 * 1024  # manifests are some KB

_log = logging.getLogger(__name__)


def list_folder(folder: Path) -> list[Path]:
    """Return the entries of a folder by name; empty if it is missing or unreadable."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        _log.debug("no folder %a", folder)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        _log.warning("skipped %a: %s", folder, error)
    return []


def is_folder(path: Path) -> bool:
    """Return whether a folder is at the path; False if that cannot be determined."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def newest_folders(folder: Path) -> list[Path]:
    """Return the folders within a folder, the most recently changed first."""
    folders = []
    for path in list_folder(folder):
        try:
            status = path.stat()
        except OSError as error:
            _log.debug("skipped %s: %s", path, error)
            continue
        if stat.S_ISDIR(status.st_mode):
            folders.append((status.st_mtime_ns, path))
    return [path for _, path in sorted(folders, key=lambda pair: -pair[0])]


def files_below(folder: Path) -> list[Path]:
    """Return all paths below a folder except folders; linked folders are not entered."""

    def log_skipped(error: OSError) -> None:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        _log.log(logging.DEBUG if missing else logging.WARNING, "skipped %s", error)

    walk = os.walk(folder, onerror=log_skipped)
    return sorted(Path(parent, name) for parent, _, names in walk for name in names)


def look_at(
    path: Path, role: FileRole, *, name: str | None = None, digest: str | None = None
) -> ForeignFile | None:
    """Return a regular file behind all links, or None if there is none."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        real = path.resolve()
    except (OSError, ValueError) as error:
        _log.debug("no file %s: %s", path, error)
        return None
    return ForeignFile(
        path=real, name=name or path.name, role=role, size_bytes=status.st_size, digest=digest
    )


def read_text(path: Path) -> str | None:
    """Return the content of a small text file, or None if it cannot be read."""
    text_file = look_at(path, "other")
    if text_file is None or text_file.size_bytes > LARGEST_TEXT:
        return None
    try:
        with text_file.path.open("rb") as file:
            return file.read(LARGEST_TEXT).decode()
    except (OSError, UnicodeDecodeError) as error:
        _log.debug("cannot read %s: %s", path, error)
        return None


def read_json(path: Path) -> Mapping[str, object]:
    """Return the JSON object of a small file, or an empty one."""
    text = read_text(path)
    if text is None:
        return {}
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        _log.debug("no JSON in %s: %s", path, error)
        return {}
    return table(value)


def table(value: object) -> Mapping[str, object]:
    """Return the value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text_of(value: object) -> str:
    """Return the value if it is text, else an empty text."""
    return value if isinstance(value, str) else ""
