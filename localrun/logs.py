"""The form of log lines: no secrets of addresses, and nothing that a terminal obeys."""

from __future__ import annotations

import logging

from localrun.addresses import redacted
from localrun.terminal import harmless_line


class HarmlessFormatter(logging.Formatter):
    """Formats a record, its traceback too, and makes the text safe to show."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        return harmless_line(redacted(super().format(record)))
