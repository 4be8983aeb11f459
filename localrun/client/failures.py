"""Errors of a connection to a server, translated into errors that name the address.

Owns what a user reads when something else than a localrun server, or nothing, is at the address.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

from localrun import errors
from localrun.client.http import ProtocolError

if TYPE_CHECKING:
    from localrun.client.http import ServerResponse
    from localrun.runner.messages import JsonObject
    from localrun.settings import Settings

LONGEST_PROGRAM = 50
ANOTHER_PORT = "LOCALRUN_HOST=127.0.0.1:11500 localrun run ...   uses another port"


def connection_error(
    settings: Settings, error: Exception, *, is_connected: bool
) -> errors.NetworkError:
    """Return the error for a missing answer."""
    host, address = settings.host, settings.address
    if _is_untrusted(settings, error):
        return errors.CertificateError(
            f"the certificate of {settings.url} is not trusted: "
            f"{getattr(error, 'verify_message', error)}",
            hint="LOCALRUN_TLS_CERT=FILE   names the certificate that it shows",
        )
    if isinstance(error, socket.gaierror | UnicodeError):
        return errors.ServerUnreachableError(
            f"the host of LOCALRUN_HOST cannot be found: {host}",
            hint="LOCALRUN_HOST=127.0.0.1:11435   is the default, this machine",
        )
    if is_connected and isinstance(error, TimeoutError):
        return errors.ServerUnreachableError(
            f"a program listens on {address} and does not answer", hint=ANOTHER_PORT
        )
    if not isinstance(error, ConnectionError | ProtocolError) and not _is_of_tls(settings, error):
        reason = getattr(error, "strerror", None) or error
        return errors.ServerUnreachableError(
            f"{address} cannot be reached: {reason}", hint="LOCALRUN_HOST sets the address"
        )
    return unreachable(settings, "no localrun server answers")


def identified(settings: Settings, error: errors.ServerUnreachableError) -> errors.NetworkError:
    """Return the error that names how the listening program fails to be a localrun server."""
    cause = error.__cause__
    if _is_of_tls(settings, cause):
        return other_program(settings, "it does not speak HTTPS")
    if isinstance(cause, ConnectionError):
        return other_program(settings, "it closes the connection")
    if isinstance(cause, ProtocolError):
        return other_program(settings, "it does not speak HTTP")
    if isinstance(cause, ValueError) and not isinstance(cause, UnicodeError):
        return other_program(settings, "it answers without JSON")
    return error


def other_program(settings: Settings, detail: str) -> errors.AddressInUseError:
    """Return the error for an address where another program listens."""
    return errors.AddressInUseError(
        f"another program than localrun listens on {settings.address}: {detail}",
        hint=ANOTHER_PORT,
    )


def unreachable(settings: Settings, message: str) -> errors.ServerUnreachableError:
    """Return the error for a server that does not answer any more."""
    return errors.ServerUnreachableError(
        f"{message} at {settings.address}", hint="localrun serve   shows the error"
    )


def connection_lost(settings: Settings) -> errors.BackendError:
    """Return the error for an answer that ends early."""
    return errors.BackendError(
        f"the server at {settings.address} stopped in the middle of the answer",
        hint="run the command again: it starts a new server",
    )


def response_error(response: ServerResponse) -> errors.LocalrunError:
    """Return the error that a server reports; for another program, its HTTP status and its name."""
    try:
        value = json.loads(response.read())
    except ValueError:
        value = None
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        return reported_error(value)
    program = response.headers.get("server", "")[:LONGEST_PROGRAM]
    status = f"HTTP {response.status} {response.reason}"
    return reported_error({"error": f"{status} ({program})" if program else status})


def reported_error(body: JsonObject) -> errors.LocalrunError:
    """Return the error in a body of Ollama's dialect."""
    hint = body.get("hint") if isinstance(body.get("hint"), str) else None
    message = str(body.get("error")).removesuffix(f" ({hint})")  # repeated there by the server
    return errors.error_named(str(body.get("code")), message, hint=hint)


def _is_of_tls(settings: Settings, error: BaseException | None) -> bool:
    if not settings.is_tls:  # ssl is imported for https alone
        return False
    import ssl

    return isinstance(error, ssl.SSLError)


def _is_untrusted(settings: Settings, error: Exception) -> bool:
    if not settings.is_tls:
        return False
    import ssl

    return isinstance(error, ssl.SSLCertVerificationError)
