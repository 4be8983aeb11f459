"""Paths of this machine as users and clients write them: ``./file.gguf``, ``~/models``."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from localrun.errors import ModelNotFoundError

MOST_SHOWN = 200


def local_path(text: str) -> Path:
    """Return the path that a text means; ``~`` is a home folder. Nothing need be there.

    Raises:
        ModelNotFoundError: no file can have this path: it is too long, or there is no such user.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise _no_path(text, "the home folder is not known") from error
    try:
        os.stat(path)  # noqa: PTH116 - for its errors alone
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise _no_path(text, "the path is too long") from error
    except ValueError as error:
        raise _no_path(text, "no path can hold its characters") from error
    return path


def _no_path(text: str, why: str) -> ModelNotFoundError:
    return ModelNotFoundError(f"no such file: {text[:MOST_SHOWN]!r}: {why}", hint="localrun list")
