"""Log of the server: stderr, or ``server.log`` of the background server, and its last lines.

Only its owner may read the file, because it may contain prompts. It is rotated at `LOG_BYTES`.
Files that an earlier version wrote with wider permissions are tightened.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Self

from localrun.logs import HarmlessFormatter, set_debug_level
from localrun.private import make_private_folder, open_private, tighten
from localrun.server.middleware.access_log import LOG_FORMAT, RequestFilter

if TYPE_CHECKING:
    from io import TextIOWrapper

    from localrun.settings import Settings

LOG_FILE = "server.log"
OWN_FILES = "server*.log*"  # also the output of a start before its log is open
LOG_BYTES = 5 * 1024 * 1024
KEPT_LOGS = 3
RECENT_LINES = 500
LONGEST_RECENT = 2000  # characters of a line


def set_up_logging(settings: Settings, *, background: bool) -> None:
    """Log to stderr, or to the file if the server runs in the background.

    Raises:
        OSError: the log cannot be written.
    """
    handler: logging.Handler = logging.StreamHandler()
    if background:
        handler = PrivateLog.in_folder(settings.log_dir)
    handlers = [handler, RecentLog()]
    for each in handlers:
        each.setFormatter(HarmlessFormatter(LOG_FORMAT))
        each.addFilter(RequestFilter())
    logging.basicConfig(level=logging.INFO, handlers=handlers)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    set_debug_level(settings.debug)


def recent_lines() -> list[str]:
    """Return the last lines of this server's log, the oldest first."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, RecentLog):
            return list(handler.lines)
    return []


class RecentLog(logging.Handler):
    """The last lines of the log, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=RECENT_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(self.format(record)[:LONGEST_RECENT])


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
