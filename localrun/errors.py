"""Everything a user, a file or a network can do wrong, as one tree.

    LocalrunError                     1   a bug of ours, or unknown
    |- UsageError                     2   the command or the request is wrong
    |  |- ModelNameError              2   not a model name
    |  |- ContextExceededError        2   the prompt does not fit the context
    |  |- BodyTooLargeError           2   a request has more bytes than the server takes
    |  |- RequestTooCostlyError       2   a request takes too much work before it is answered
    |  |- UnsupportedEncodingError    2   a request is compressed in a way that is not known
    |  |- UnauthorizedError           2   the server asks for a key, or for another one
    |  `- SlowClientError             2   the request came too slowly
    |- NotFoundError                  3
    |  |- ModelNotFoundError          3   no such model, here or at a hub
    |  `- QuantizationNotFoundError   3   the repository has others
    |- IntegrityError                 4   a file is damaged or not what it says
    |- NetworkError                   5
    |  |- ServerUnreachableError      5   no localrun server answers
    |  |- CertificateError            5   a server that nothing here vouches for
    |  |- PrivateAddressError         5   a client names a host that is not public
    |  `- AddressInUseError           5   another program has the port
    |- BackendError                   6   llama.cpp, a runner or a device failed
    |  |- LoadError                   6   the model does not load
    |  `- RunnerDiedError             6   the runner ended in the middle of work
    |- OverloadedError                7   too much waits already
    `- StorageError                   8   a disk is full or not writable

The number is the exit code; Ctrl-C is 130. The class tells what the caller can
do about it, the message is one line that names the thing, ``hint`` is the next
command to type. Raised where it is known; rendered in ``cli/main.py`` and
``server/errors.py`` only. Programming errors are ordinary Python exceptions.
Logins and signatures of addresses are taken out of both texts here, whoever wrote them.
"""

from __future__ import annotations

from typing import ClassVar

from localrun.addresses import redacted


class LocalrunError(Exception):
    """A failure that is told to the user in one line."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    has_lines: ClassVar[bool] = False  # the message has several, each of them harmless

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = redacted(message)
        self.hint = None if hint is None else redacted(hint)
        super().__init__(self.message)


class UsageError(LocalrunError):
    """The command or the request itself is wrong; ``param`` names the field if there is one."""

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
    """The prompt is longer than the model's context."""

    code = "context_length_exceeded"


class BodyTooLargeError(UsageError):
    """The request has more bytes than the server takes."""

    http_status = 413
    code = "body_too_large"


class RequestTooCostlyError(UsageError):
    """Rendering or tokenizing the request takes more time or memory than one request may use."""

    code = "request_too_costly"


class UnsupportedEncodingError(UsageError):
    """The body of a request is compressed in a way that the server does not know."""

    http_status = 415
    code = "unsupported_encoding"


class UnauthorizedError(UsageError):
    """The server asks for a key, and the request has none or a wrong one."""

    http_status = 401
    code = "invalid_api_key"


class SlowClientError(UsageError):
    """The request came too slowly."""

    http_status = 408
    code = "request_timeout"


class NotFoundError(LocalrunError):
    """The named thing does not exist."""

    exit_code = 3
    http_status = 404
    code = "not_found"


class ModelNotFoundError(NotFoundError):
    """No model of this name is on this machine, or at the hub that was asked."""

    code = "model_not_found"


class QuantizationNotFoundError(NotFoundError):
    """The repository is there, but not in this quantization."""

    code = "quantization_not_found"


class IntegrityError(LocalrunError):
    """A file is damaged or is not what it says.

    Not a 500: it is no bug, and clients that try a 5xx again would get the same answer.
    """

    exit_code = 4
    http_status = 422
    code = "integrity_error"


class NetworkError(LocalrunError):
    """Something over a network did not work."""

    exit_code = 5
    http_status = 502
    code = "network_error"


class ServerUnreachableError(NetworkError):
    """No localrun server answers at the address."""

    code = "server_unreachable"


class CertificateError(NetworkError):
    """The server shows a certificate that nothing here vouches for."""

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
    """The runner process ended while work was waiting for it."""

    code = "runner_died"


class OverloadedError(LocalrunError):
    """More work waits than is allowed; try again later, after ``retry_after_s`` if it is said."""

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


def all_errors() -> list[type[LocalrunError]]:
    """Return every class of the tree, a parent before its children."""
    found: list[type[LocalrunError]] = [LocalrunError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return found


def error_named(
    code: str, message: str, *, hint: str | None = None, param: str | None = None
) -> LocalrunError:
    """Return the error that another process of ours named by its code."""
    kinds = {kind.code: kind for kind in all_errors()}
    kind = kinds.get(code, BackendError)
    if issubclass(kind, UsageError):
        return kind(message, hint=hint, param=param)
    return kind(message, hint=hint)
