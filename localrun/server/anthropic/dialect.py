"""Who speaks Anthropic's API, and how errors are told there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localrun.errors import ContextExceededError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from localrun.errors import LocalrunError
    from localrun.server.parsing.fields import JsonObject

    Scope = Mapping[str, Any]

PATH = "/v1/messages"
SHARED = "/v1/"  # with OpenAI's clients, which do not send the header
VERSION_HEADER = b"anthropic-version"
OVERLOADED = 529  # in place of 503
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


def speaks_anthropic(scope: Scope) -> bool:
    """Return whether a request comes from a client of Anthropic's API."""
    path: str = scope["path"]
    if path == PATH or path.startswith(f"{PATH}/"):
        return True
    return path.startswith(SHARED) and any(name == VERSION_HEADER for name, _ in scope["headers"])


def request_id(scope: Scope) -> str | None:
    """Return the request's id, which the gate gives it."""
    found: str | None = scope.get("state", {}).get("request_id")
    return found


def error_event(scope: Scope, error: LocalrunError, status: int | None = None) -> JsonObject:
    """Return an error as a body, and as an event in the middle of a stream."""
    status = status or error.http_status
    other = "api_error" if status >= FIRST_OF_SERVER else "invalid_request_error"
    told = {"type": TYPES.get(status, other), "message": _message(error)}
    return {"type": "error", "error": told, "request_id": request_id(scope)}


def _message(error: LocalrunError) -> str:
    """Return the message; Claude Code shortens a conversation when it reads these words."""
    numbers = re.findall(r"\d+", error.message)
    if isinstance(error, ContextExceededError) and len(numbers) == 2:  # noqa: PLR2004 - has and may
        return "prompt is too long: {} tokens > {} maximum".format(*numbers)
    return error.message + (f" ({error.hint})" if error.hint else "")
