"""Formatter of log lines: redacts URLs and removes control characters.

A separate module: if `localrun.terminal` imported logging, start-up would be slower.
"""

from __future__ import annotations

import logging

from localrun.addresses import redacted
from localrun.terminal import harmless_line


class HarmlessFormatter(logging.Formatter):
    """Formatter that makes a record and its traceback safe to display."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the safe text of a record."""
        return harmless_line(redacted(super().format(record)))
