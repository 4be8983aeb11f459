"""Log file of the background server, ``server.log``.

Only its owner may read it, because it may contain prompts. It is rotated at `LOG_BYTES`. Files
that an earlier version wrote with wider permissions are tightened.
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
OWN_FILES = "server*.log*"  # also the output of a start before its log is open
LOG_BYTES = 5 * 1024 * 1024
KEPT_LOGS = 3


class PrivateLog(logging.handlers.RotatingFileHandler):
    """Rotating log file that only its owner can read."""

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Return the log of a folder, which is created, or tightened if it contains only logs.

        Raises:
            OSError: the log cannot be written.
        """
        make_private_folder(folder)
        logs = set(folder.glob(OWN_FILES))
        is_own = logs == set(folder.iterdir())
        for path in (*logs, *([folder] if is_own else [])):
            with contextlib.suppress(OSError):  # another user's file: opening it fails below
                tighten(path)
        return cls(folder / LOG_FILE, maxBytes=LOG_BYTES, backupCount=KEPT_LOGS, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        descriptor = open_private(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        return os.fdopen(descriptor, "a", encoding=self.encoding)
