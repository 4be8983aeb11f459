"""Dialect: the conventions of one HTTP API for errors and streams.

Each API package defines its dialect as a value (``openai/dialect.py``, ...). The outermost
middleware chooses the dialect of a request by its path, once (`apis.choose_dialect`), and stores
it in the ASGI scope. Generic modules read it there and import no API package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope

    from localrun.errors import LocalrunError
    from localrun.runner.messages import JsonObject
    from localrun.server.framing import Framing

REQUEST_ID = b"x-request-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReport:
    """An error as a client receives it; APIs without a field for a value leave the value out."""

    error: LocalrunError
    status: int  # of HTTP, before a dialect replaces it
    code: str
    request_id: str | None = None

    @property
    def text(self) -> str:
        """Return the message with its hint in parentheses."""
        error = self.error
        return error.message + (f" ({error.hint})" if error.hint else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Conventions of one API.

    An error that occurs after a stream has begun is written as ``framing.encode(error_body)``.
    ``final_frame`` ends every stream, also a failed one.
    """

    framing: Framing
    error_body: Callable[[ErrorReport], JsonObject]
    final_frame: bytes = b""
    statuses: Mapping[int, int] = field(default_factory=dict)  # other HTTP statuses of the API
    request_id_headers: tuple[bytes, ...] = (REQUEST_ID,)


def dialect_of(scope: Scope) -> Dialect:
    """Return the dialect that was chosen for a request."""
    dialect: Dialect = scope["state"]["dialect"]
    return dialect


def report_of(scope: Scope, error: LocalrunError, status: int | None = None) -> ErrorReport:
    """Return the report of an error to the client of a request."""
    return ErrorReport(
        error=error,
        status=status or error.http_status,
        code=error.code,
        request_id=scope["state"].get("request_id"),
    )
