"""Errors in the shape of the API that was called."""

from __future__ import annotations

import errno
import logging
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from localrun.errors import LocalrunError, OverloadedError, UsageError
from localrun.server.anthropic.dialect import OVERLOADED, error_event, speaks_anthropic
from localrun.server.middleware.paths import near_path

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from starlette.types import Scope

_log = logging.getLogger(__name__)

OPENAI_PREFIXES = (
    "/v1/",
    "/rerank",
    "/tokenize",
    "/detokenize",
    "/apply-template",
    "/props",
    "/slots",
)
INTERNAL_ERROR = 500
MISSING = 404
UNAVAILABLE = 503
CLIENT_LEFT = 499
RETRY_AFTER_S = 5
NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}
# a status of OpenAI's has a type of its own
OPENAI_TYPES = {
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


def error_body(path: str, error: LocalrunError) -> dict[str, Any]:
    """Return the JSON body of an error for the API that ``path`` belongs to."""
    hint = f" ({error.hint})" if error.hint else ""
    if path.startswith(OPENAI_PREFIXES):
        return {
            "error": {
                "message": error.message + hint,
                "type": OPENAI_TYPES.get(error.http_status, "server_error"),
                "param": getattr(error, "param", None),
                "code": error.code,
            }
        }
    # Ollama's clients show the text alone
    body = {"error": error.message + hint, "code": error.code}
    return body | {"hint": error.hint} if error.hint else body


def error_response(scope: Scope, error: LocalrunError, status: int | None = None) -> JSONResponse:
    """Return the response of an error for the client that sent a request."""
    status = status or error.http_status
    headers = {"Retry-After": str(_retry_after(error))} if status == UNAVAILABLE else None
    if not speaks_anthropic(scope):
        return JSONResponse(error_body(scope["path"], error), status, headers)
    body = error_event(scope, error, status)
    return JSONResponse(body, OVERLOADED if status == UNAVAILABLE else status, headers)


def bug_error() -> LocalrunError:
    """Return what a client is told of an error that nobody thought of."""
    return LocalrunError("localrun has a bug: see its log for the details")


def _retry_after(error: LocalrunError) -> int:
    """Return after how many seconds it is worth asking again."""
    known = error.retry_after_s if isinstance(error, OverloadedError) else None
    return RETRY_AFTER_S if known is None else max(1, math.ceil(known))


def install_handlers(app: FastAPI) -> None:
    """Let every exception leave the server as an error that its client understands."""
    app.add_exception_handler(LocalrunError, _on_localrun_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_wrong_query)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(OSError, _on_refusal_of_the_system)
    app.add_exception_handler(Exception, _on_bug)


async def _on_localrun_error(request: Request, error: Exception) -> JSONResponse:
    known = error if isinstance(error, LocalrunError) else LocalrunError(str(error))
    return error_response(request.scope, known)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    """Answer what is refused before a route: an unknown path or a wrong method."""
    status = error.status_code if isinstance(error, HTTPException) else INTERNAL_ERROR
    path, code = request.url.path, HTTPStatus(status).name.lower()
    hint = near_path(path) if status == MISSING else None
    told = LocalrunError(f"{request.method} {path}: {getattr(error, 'detail', error)}", hint=hint)
    if speaks_anthropic(request.scope):
        return error_response(request.scope, told, status)
    body = error_body(path, told)
    if isinstance(body["error"], dict):
        body["error"] |= {"type": OPENAI_TYPES.get(status, "invalid_request_error"), "code": code}
    else:
        body["code"] = code
    return JSONResponse(body, status, getattr(error, "headers", None))


async def _on_wrong_query(request: Request, error: Exception) -> JSONResponse:
    """Answer a query or a path that FastAPI itself reads, and refuses."""
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": ("",)}
    name = str(first["loc"][-1])
    told = UsageError(f"{name} is wrong: {first.get('msg', error)}", param=name)
    return error_response(request.scope, told)


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    """Answer nobody: the client left while it sent its body."""
    return Response(status_code=CLIENT_LEFT)


async def _on_refusal_of_the_system(request: Request, error: Exception) -> JSONResponse:
    """Answer when the process has no file descriptors left; any other is a bug."""
    if not isinstance(error, OSError) or error.errno not in NO_DESCRIPTORS:
        return await _on_bug(request, error)
    _log.warning("%s %s: %s", request.method, request.url.path, error)
    told = OverloadedError(
        "the server has too many open files", hint="start it after: ulimit -n 65536"
    )
    return error_response(request.scope, told)


async def _on_bug(request: Request, error: Exception) -> JSONResponse:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(request.scope, bug_error())
