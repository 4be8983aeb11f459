"""Formatter of log lines: redacts URLs and removes control characters.

A separate module: if `localrun.terminal` imported logging, start-up would be slower.
"""

from __future__ import annotations

import logging

from localrun.addresses import redacted
from localrun.terminal import harmless_line

NATIVE_LINES = "localrun.engine.llama.library"  # the logger of llama.cpp's own lines


def set_debug_level(level: int) -> None:
    """Let localrun log debug lines from level 1 on, and llama.cpp from level 2 on."""
    if level > 0:
        logging.getLogger("localrun").setLevel(logging.DEBUG)
        logging.getLogger(NATIVE_LINES).setLevel(logging.DEBUG if level > 1 else logging.INFO)


class HarmlessFormatter(logging.Formatter):
    """Formatter that makes a record and its traceback safe to display."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the safe text of a record."""
        return harmless_line(redacted(super().format(record)))
