"""The id of the request that is served: in its answer's head and in each line of the log.

A client may choose it, as long as it is short and of harmless characters; what is not would
let a client write lines of its own into the log.
"""

from __future__ import annotations

import logging
import re
import secrets
from contextvars import ContextVar

SANE = re.compile(rb"[A-Za-z0-9._:-]{1,128}", re.ASCII)
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s%(request)s: %(message)s"

_current: ContextVar[str] = ContextVar("request_id", default="")


def begin_request(wanted: bytes) -> str:
    """Return the id of a request, which is the current one in this task from now on."""
    chosen = wanted.decode() if SANE.fullmatch(wanted) else secrets.token_hex(8)
    _current.set(chosen)
    return chosen


class RequestFilter(logging.Filter):
    """Gives each line the id of the request that it is about."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add ``request`` to the record; all lines pass."""
        current = _current.get()
        record.request = f" [{current}]" if current else ""
        return True
