"""The background server's log, ``server.log``: it may hold prompts, so its owner alone reads it.

It is rotated at `LOG_BYTES`; what an earlier version wrote with more rights is tightened.
"""

from __future__ import annotations

import contextlib
import logging.handlers
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from localrun.private import make_private_folder, open_private, tighten

if TYPE_CHECKING:
    from io import TextIOWrapper

LOG_FILE = "server.log"
OWN_FILES = "server*.log*"  # what a start without a log says is in another file
LOG_BYTES = 5 * 1024 * 1024
KEPT_LOGS = 3


class PrivateLog(logging.handlers.RotatingFileHandler):
    """Rotating file that is readable for its owner alone."""

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Return the log of a folder, which is made, and tightened if it holds nothing else.

        Raises:
            OSError: it cannot be written.
        """
        make_private_folder(folder)
        logs = set(folder.glob(OWN_FILES))
        is_own = logs == set(folder.iterdir())
        for path in (*logs, *([folder] if is_own else [])):
            with contextlib.suppress(OSError):  # another user's: opening it tells
                tighten(path)
        return cls(folder / LOG_FILE, maxBytes=LOG_BYTES, backupCount=KEPT_LOGS, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        descriptor = open_private(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        return os.fdopen(descriptor, "a", encoding=self.encoding)
