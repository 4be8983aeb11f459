"""Dialect of Anthropic's API: error events with a request id, streams of named events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localrun.errors import ContextExceededError
from localrun.server.dialect import REQUEST_ID, Dialect
from localrun.server.framing import NAMED_SSE

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.dialect import ErrorReport

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
FIRST_OF_SERVER = 500
UNAVAILABLE, OVERLOADED = 503, 529


def error_body(report: ErrorReport) -> JsonObject:
    """Return an error as a body, which is also an event of a stream."""
    default = "api_error" if report.status >= FIRST_OF_SERVER else "invalid_request_error"
    error = {"type": TYPES.get(report.status, default), "message": _message(report)}
    return {"type": "error", "error": error, "request_id": report.request_id}


def _message(report: ErrorReport) -> str:
    """Return the message; Claude Code shortens a conversation if it finds these words."""
    numbers = re.findall(r"\d+", report.error.message)
    if isinstance(report.error, ContextExceededError) and len(numbers) == 2:  # noqa: PLR2004 - size and limit
        return "prompt is too long: {} tokens > {} maximum".format(*numbers)
    return report.text


ANTHROPIC = Dialect(
    framing=NAMED_SSE,
    error_body=error_body,
    statuses={UNAVAILABLE: OVERLOADED},
    request_id_headers=(REQUEST_ID, b"request-id"),
)
