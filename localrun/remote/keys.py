"""Keys of engines, read from the file or the variable that a remote model names.

A key is read for each request, so that a changed file takes effect at once. It is never part of a
message or a log: `hide` removes it from what an engine says.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.remote.model import RemoteModel

LONGEST_KEY = 16_384
SHORTEST_HIDDEN = 4  # a shorter key is part of too many words
HIDDEN = "***"


def read_key(model: RemoteModel, environ: Mapping[str, str]) -> str | None:
    """Return the key of a remote model, or None if it has none; reads a small file.

    Raises:
        UsageError: the file or the variable is missing, empty, or holds no key.
    """
    if model.key_env is not None:
        key = environ.get(model.key_env, "").strip()
        if not key:
            raise UsageError(
                f"the key of the engine is in the variable {model.key_env}, which is not set",
                hint="set it where the server starts; --key-file FILE   needs no variable",
            )
        return _checked(key, f"the variable {model.key_env}")
    if model.key_file is None:
        return None
    return _checked(_first_line(Path(model.key_file)), model.key_file)


def is_open_to_others(model: RemoteModel) -> bool:
    """Return whether other users of this machine can read the key's file."""
    if model.key_file is None:
        return False
    try:
        mode = Path(model.key_file).stat().st_mode
    except OSError:
        return False
    return bool(mode & (stat.S_IRGRP | stat.S_IROTH))


def hide(text: str, key: str | None) -> str:
    """Return a text without the key."""
    if key is None or len(key) < SHORTEST_HIDDEN:
        return text
    return text.replace(key, HIDDEN)


def _first_line(path: Path) -> str:
    try:
        if not path.is_file():
            raise FileNotFoundError(path)
        with path.open("rb") as file:
            content = file.read(LONGEST_KEY + 1)
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else error.strerror
        raise UsageError(
            f"the key file {path} cannot be read: {reason}",
            hint="write the engine's key to it, in one line",
        ) from error
    return content.split(b"\n", 1)[0].decode("latin-1").strip()


def _checked(key: str, place: str) -> str:
    """Return a key that a header can carry; an error does not repeat it."""
    is_header = key.isascii() and key.isprintable() and " " not in key
    if not key or not is_header or len(key) > LONGEST_KEY:
        raise UsageError(f"{place} has no key in its first line")
    return key
