"""The usual reader of included files: a folder of this machine, and nothing outside it.

A symbolic link is followed as long as it stays inside. A device or a pipe is no recipe:
reading one might never end.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.modelfile.source import MOST_BYTES

if TYPE_CHECKING:
    from localrun.modelfile.expand import Reader

# a file that turns into a link or a pipe between the look and the opening is refused too
FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
BINARY = getattr(os, "O_BINARY", 0)  # Windows would change newlines


def folder_reader(folder: Path) -> Reader:
    """Return a reader of the files below a folder.

    The reader raises UsageError for a path that leads outside, OSError for one that
    cannot be read.
    """

    def read(path: str) -> bytes:
        top = Path(os.path.realpath(folder))  # Path.resolve fails on links in a circle
        target = Path(os.path.realpath(top / path))
        if not target.is_relative_to(top):
            raise UsageError(
                f"{path} leads outside the folder of the recipe",
                hint="copy the file into the folder of the recipe, or below it",
            )
        with os.fdopen(os.open(target, FLAGS | BINARY), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(f"{path} is not a file")
            return file.read(MOST_BYTES + 1)

    return read
