"""Dialects of OpenAI's APIs: errors as an object ``error``, streams as server-sent events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.server.dialect import Dialect
from localrun.server.framing import DONE, SSE

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.dialect import ErrorReport

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    503: "overloaded_error",
}


def error_body(report: ErrorReport) -> JsonObject:
    """Return the body of an error."""
    return {
        "error": {
            "message": report.text,
            "type": TYPES.get(report.error.http_status, "server_error"),
            "param": getattr(report.error, "param", None),
            "code": report.code,
        }
    }


OPENAI = Dialect(framing=SSE, error_body=error_body, final_frame=DONE)
RESPONSES = replace(OPENAI, final_frame=b"")  # streams of responses end with response.completed
