"""Error tree: everything that a user, a file or a network can do wrong.

    LocalrunError                     1   a bug of ours, or unknown
    |- UsageError                     2   the command or the request is wrong
    |  |- ModelNameError              2   not a model name
    |  |- ContextExceededError        2   the prompt exceeds the context window
    |  |- BodyTooLargeError           2   a request body exceeds the server's limit
    |  |- RequestTooCostlyError       2   a request takes too much work before generation
    |  |- UnsupportedEncodingError    2   a request has an unknown compression
    |  |- UnauthorizedError           2   the server requires a key, or another key
    |  `- SlowClientError             2   the request arrived too slowly
    |- NotFoundError                  3
    |  |- ModelNotFoundError          3   the model does not exist, here or at a hub
    |  |- QuantizationNotFoundError   3   the repository has other quantizations
    |  `- ConversationNotFoundError   3   there is no such kept chat
    |- IntegrityError                 4   a file is damaged, or not what it claims to be
    |- NetworkError                   5
    |  |- ServerUnreachableError      5   no localrun server answers
    |  |- CertificateError            5   the server's certificate is not trusted
    |  |- PrivateAddressError         5   a client names a host that is not public
    |  `- AddressInUseError           5   another program has the port
    |- BackendError                   6   llama.cpp, a runner or a device failed
    |  |- LoadError                   6   the model does not load
    |  `- RunnerDiedError             6   the runner ended during work
    |- OverloadedError                7   the queue is full
    |- StorageError                   8   a disk is full or not writable
    `- FailedLinesError             9   some records or tasks were not answered

The number is the exit code; Ctrl-C is 130. The class says what the caller can do, the message is
one line that names the thing, ``hint`` is the next command to type. Errors are raised where the
cause is known, and rendered only in ``cli/main.py`` and ``server/errors.py``. Programming errors
are ordinary Python exceptions. Both texts are redacted here: no login or signature of a URL stays.
"""

from __future__ import annotations

from typing import ClassVar

from localrun.addresses import redacted


class LocalrunError(Exception):
    """Failure that is reported to the user in one line."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    has_lines: ClassVar[bool] = (
        False  # the message has several lines, each free of control characters
    )

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = redacted(message)
        self.hint = None if hint is None else redacted(hint)
        super().__init__(self.message)


class UsageError(LocalrunError):
    """The command or the request is wrong; ``param`` names the field, if any."""

    exit_code = 2
    http_status = 400
    code = "invalid_request"

    def __init__(self, message: str, *, hint: str | None = None, param: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.param = param


class ModelNameError(UsageError):
    """The text is not a model name."""

    code = "invalid_model_name"


class ContextExceededError(UsageError):
    """The prompt exceeds the model's context window."""

    code = "context_length_exceeded"


class BodyTooLargeError(UsageError):
    """The request body exceeds the server's limit."""

    http_status = 413
    code = "body_too_large"


class RequestTooCostlyError(UsageError):
    """Rendering or tokenizing exceeds the time or memory of one request."""

    code = "request_too_costly"


class UnsupportedEncodingError(UsageError):
    """The request body has an unknown compression."""

    http_status = 415
    code = "unsupported_encoding"


class UnauthorizedError(UsageError):
    """The server requires a key, and the request has none or a wrong one."""

    http_status = 401
    code = "invalid_api_key"


class SlowClientError(UsageError):
    """The request arrived too slowly."""

    http_status = 408
    code = "request_timeout"


class NotFoundError(LocalrunError):
    """The named thing does not exist."""

    exit_code = 3
    http_status = 404
    code = "not_found"


class ModelNotFoundError(NotFoundError):
    """The model does not exist on this machine, or at its hub."""

    code = "model_not_found"


class QuantizationNotFoundError(NotFoundError):
    """The repository lacks this quantization."""

    code = "quantization_not_found"


class ConversationNotFoundError(NotFoundError):
    """There is no such kept chat."""

    code = "chat_not_found"


class IntegrityError(LocalrunError):
    """A file is damaged, or not what it claims to be.

    The status is not 5xx: it is no bug, and clients that retry a 5xx would get the same error.
    """

    exit_code = 4
    http_status = 422
    code = "integrity_error"


class NetworkError(LocalrunError):
    """A network operation failed."""

    exit_code = 5
    http_status = 502
    code = "network_error"


class ServerUnreachableError(NetworkError):
    """No localrun server answers at the address."""

    code = "server_unreachable"


class CertificateError(NetworkError):
    """The server's certificate is not trusted."""

    code = "certificate_not_trusted"


class PrivateAddressError(NetworkError):
    """A client of the server names a host that has no public address."""

    http_status = 403
    code = "private_address"


class AddressInUseError(NetworkError):
    """Another program listens on the address."""

    code = "address_in_use"


class BackendError(LocalrunError):
    """llama.cpp, a runner process or a device failed."""

    exit_code = 6
    code = "backend_error"


class LoadError(BackendError):
    """The model could not be loaded."""

    code = "load_failed"


class RunnerDiedError(BackendError):
    """The runner process ended while requests were pending."""

    code = "runner_died"


class OverloadedError(LocalrunError):
    """The queue is full; retry later, after ``retry_after_s`` if it is given."""

    exit_code = 7
    http_status = 503
    code = "overloaded"

    def __init__(
        self, message: str, *, hint: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class StorageError(LocalrunError):
    """A disk is full or a folder cannot be written."""

    exit_code = 8
    http_status = 507
    code = "storage_error"


class FailedLinesError(LocalrunError):
    """Some records of a batch, or tasks of an evaluation, were not answered."""

    exit_code = 9
    code = "lines_failed"


def all_errors() -> list[type[LocalrunError]]:
    """Return every class of the tree, parents before children."""
    kinds: list[type[LocalrunError]] = [LocalrunError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return kinds


def error_named(
    code: str, message: str, *, hint: str | None = None, param: str | None = None
) -> LocalrunError:
    """Return the error for the code that another process of ours sent."""
    kinds = {kind.code: kind for kind in all_errors()}
    kind = kinds.get(code, BackendError)
    if issubclass(kind, UsageError):
        return kind(message, hint=hint, param=param)
    return kind(message, hint=hint)
