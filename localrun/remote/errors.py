"""Errors of engines, as the classes that the caller can act on.

connection refused, broken, too slow        RemoteEngineError   another address may answer
429, 502, 503, 504                          RemoteBusyError     another address may answer
401, 403, 404, 5xx, redirects, other forms  RemoteEngineError
400, 413, 422                               UsageError          the request is wrong
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localrun.errors import (
    ContextExceededError,
    LocalrunError,
    NetworkError,
    OverloadedError,
    UsageError,
)
from localrun.remote.keys import hide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.remote.model import RemoteAddress

LONGEST_SHOWN = 400  # characters of an engine's own text
BAD_REQUESTS = {400, 413, 422}
REFUSALS = {401, 403}
MISSING = 404
PASSING = {429, 502, 503, 504}
REDIRECTS = range(300, 400)
LONGEST_WAIT_S = 120.0
CONTEXT_WORDS = (  # of vLLM and OpenAI, localrun, llama-server, SGLang, TGI
    "maximum context length",
    "context_length_exceeded",
    "exceed_context_size",
    "available context size",
    "longer than the model's context",
    "`inputs` tokens",
)


class RemoteEngineError(NetworkError):
    """The engine of a remote model failed, or does not answer.

    ``is_retryable``: nothing was computed, so that another address may be asked.
    """

    code = "remote_engine_error"

    def __init__(
        self, message: str, *, hint: str | None = None, is_retryable: bool = False
    ) -> None:
        super().__init__(message, hint=hint)
        self.is_retryable = is_retryable


class RemoteBusyError(OverloadedError):
    """The engine of a remote model is overloaded; another address may not be."""

    code = "remote_engine_busy"


def can_be_retried(error: LocalrunError) -> bool:
    """Return whether another address may answer the same request."""
    if isinstance(error, RemoteEngineError):
        return error.is_retryable
    return isinstance(error, RemoteBusyError)


def unreachable(name: str, address: RemoteAddress, reason: str) -> RemoteEngineError:
    """Return the error of an engine that does not answer."""
    return RemoteEngineError(
        f"{_short(name)}: its engine at {address.host} {reason}",
        hint=f"localrun remote test {_short(name)}   asks the engine",
        is_retryable=True,
    )


def malformed(name: str, address: RemoteAddress, what: str) -> RemoteEngineError:
    """Return the error of an engine whose answer cannot be understood."""
    return RemoteEngineError(f"{_short(name)}: its engine at {address.host} {what}")


def status_error(
    name: str,
    address: RemoteAddress,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    key: str | None,
) -> LocalrunError:
    """Return the error of a response that is not 2xx."""
    where = f"{_short(name)}: its engine at {address.host}"
    if status in REDIRECTS:
        return RemoteEngineError(
            f"{where} redirects, which is not followed: the key belongs to this address alone",
            hint="localrun remote add   with the address that it redirects to",
        )
    said = hide(engine_text(body), key)
    if status in REFUSALS:
        fix = "--key-file FILE   names the key" if key is None else "check the key"
        return RemoteEngineError(f"{where} refuses the key ({status}): {said}", hint=fix)
    if status in PASSING:
        wait_s = retry_after(headers.get("retry-after"))
        return RemoteBusyError(f"{where} is overloaded ({status}): {said}", retry_after_s=wait_s)
    if status == MISSING:
        return RemoteEngineError(
            f"{where} has no {address.model} there ({status}): {said}",
            hint=f"localrun remote test {_short(name)}   lists its models",
        )
    if status in BAD_REQUESTS:
        kind = ContextExceededError if is_about_context(body) else UsageError
        return kind(f"{where} refuses the request ({status}): {said}", param=_param(body))
    return RemoteEngineError(f"{where} failed ({status}): {said}")


def event_error(
    name: str, address: RemoteAddress, event: Mapping[str, Any], key: str | None
) -> LocalrunError:
    """Return the error that an engine sends as an event of a stream."""
    body = json.dumps(event).encode()
    said = hide(engine_text(body), key)
    message = f"{_short(name)}: its engine at {address.host} failed: {said}"
    inner = event.get("error")
    status = inner.get("code") if isinstance(inner, dict) else None
    if is_about_context(body):
        return ContextExceededError(message)
    if status in BAD_REQUESTS:
        return UsageError(message)
    return RemoteEngineError(message)


def engine_text(body: bytes) -> str:
    """Return the message of an engine's error body, in one line of bounded length.

    {"error": {"message": ""}}, {"error": ""}, {"message": ""} and {"detail": ""} are in use.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = body.decode(errors="replace")
    for name in ("error", "message", "detail", "msg"):
        if isinstance(value, dict) and value.get(name):
            value = value[name]
    if isinstance(value, dict):
        value = value.get("message") or value
    text = value if isinstance(value, str) else json.dumps(value)
    line = "".join(char if char.isprintable() else " " for char in text[: 4 * LONGEST_SHOWN])
    line = " ".join(line.split())
    return line if len(line) <= LONGEST_SHOWN else f"{line[:LONGEST_SHOWN]}..."


def is_about_context(body: bytes) -> bool:
    """Return whether an engine refuses a prompt for its length."""
    text = body.decode(errors="replace").lower()
    return any(words in text for words in CONTEXT_WORDS)


def retry_after(text: str | None) -> float | None:
    """Return the seconds of a Retry-After header, if it has seconds."""
    try:
        seconds = float((text or "")[:20])
    except ValueError:
        return None
    return min(LONGEST_WAIT_S, max(0.0, seconds)) if seconds == seconds else None  # noqa: PLR0124 - NaN


def _param(body: bytes) -> str | None:
    try:
        param = json.loads(body)["error"]["param"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return param[:200] if isinstance(param, str) and param.isprintable() else None


def _short(name: str) -> str:
    return name.removesuffix(":latest")
