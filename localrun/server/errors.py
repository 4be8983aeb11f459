"""HTTP responses of errors, in the dialect of the API that was called.

Every exception that leaves a route becomes one response here; `streaming` does the same for
errors after the head of a stream was sent.
"""

from __future__ import annotations

import errno
import logging
import math
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from localrun.errors import LocalrunError, NotFoundError, OverloadedError, UsageError
from localrun.server.dialect import dialect_of, report_of
from localrun.server.middleware.paths import near_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.types import Scope

    from localrun.server.dialect import ErrorReport

_log = logging.getLogger(__name__)

INTERNAL_ERROR = 500
MISSING = 404
UNAVAILABLE = 503
CLIENT_LEFT = 499
RETRY_AFTER_S = 5
NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}


def error_response(scope: Scope, error: LocalrunError, status: int | None = None) -> JSONResponse:
    """Return the response of an error to the client of a request."""
    report = report_of(scope, error, status)
    is_unavailable = report.status == UNAVAILABLE
    headers = {"Retry-After": str(_retry_after_s(error))} if is_unavailable else None
    return _response(scope, report, headers)


def bug_error() -> LocalrunError:
    """Return the error that a client receives for an unexpected exception."""
    return LocalrunError("localrun has a bug: see its log for the details")


def install_handlers(app: Starlette) -> None:
    """Make every exception of the application an error response."""
    app.add_exception_handler(LocalrunError, _on_localrun_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(OSError, _on_os_error)
    app.add_exception_handler(Exception, _on_bug)


async def _on_localrun_error(request: Request, error: Exception) -> JSONResponse:
    known = error if isinstance(error, LocalrunError) else LocalrunError(str(error))
    return error_response(request.scope, known)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    """Respond to a request that no route accepts: an unknown path or a wrong method."""
    status = error.status_code if isinstance(error, HTTPException) else INTERNAL_ERROR
    path = request.url.path
    message = f"{request.method} {path}: {getattr(error, 'detail', error)}"
    refusal: LocalrunError = UsageError(message)
    if status == MISSING:
        refusal = NotFoundError(message, hint=near_path(path))
    report = replace(
        report_of(request.scope, refusal, status), code=HTTPStatus(status).name.lower()
    )
    return _response(request.scope, report, getattr(error, "headers", None))


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    """Respond to a client that disconnected while it sent its body; nobody reads it."""
    return Response(status_code=CLIENT_LEFT)


async def _on_os_error(request: Request, error: Exception) -> JSONResponse:
    """Respond if the process has no file descriptors left; any other OSError is a bug."""
    if not isinstance(error, OSError) or error.errno not in NO_DESCRIPTORS:
        return await _on_bug(request, error)
    _log.warning("%s %s: %s", request.method, request.url.path, error)
    overloaded = OverloadedError(
        "the server has too many open files", hint="start it after: ulimit -n 65536"
    )
    return error_response(request.scope, overloaded)


async def _on_bug(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(request.scope, bug_error())


def _response(scope: Scope, report: ErrorReport, headers: Mapping[str, str] | None) -> JSONResponse:
    dialect = dialect_of(scope)
    status = dialect.statuses.get(report.status, report.status)
    return JSONResponse(dialect.error_body(report), status, headers)


def _retry_after_s(error: LocalrunError) -> int:
    """Return the whole seconds after which a client should try again."""
    known_s = error.retry_after_s if isinstance(error, OverloadedError) else None
    return RETRY_AFTER_S if known_s is None else max(1, math.ceil(known_s))
