"""Talk to a localrun server over HTTP; blocking, by the standard library alone.

Errors that the server names come back as the same class of error here.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from localrun import errors

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from localrun.settings import Settings

JsonObject = dict[str, Any]

OWN = "/api/localrun"
ERROR_STATUS = 400
CONNECT_TIMEOUT_S = 5.0
UNLOAD_TIMEOUT_S = 60.0  # answers are ended, and the memory of models is freed
LEAVING_S = 0.2
LONGEST_PROGRAM = 50
OWN_REFUSALS = (errors.UsageError, errors.CertificateError, errors.OverloadedError)
ANOTHER_PORT = "LOCALRUN_HOST=127.0.0.1:11500 localrun run ...   uses another port"
SIGNS_WANTED = {"X-Localrun-Progress": "1"}


class LocalrunClient:
    """One server; each call opens a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def version(self) -> JsonObject | None:
        """Return what the server says of itself, None when nothing listens at the address.

        Raises:
            UnauthorizedError: one answers, and wants another key.
            CertificateError: one answers that nothing here vouches for.
            AddressInUseError: a program listens that does not speak as a server of ours.
            ServerUnreachableError: the host is unknown or out of reach, or who listens there
                does not answer in time.
        """
        for is_last in (False, True):
            try:
                return self._call("GET", "/api/version")
            except errors.ServerUnreachableError as error:
                cause = error.__cause__
                if isinstance(cause, ConnectionRefusedError):
                    return None
                if is_last or not isinstance(cause, ConnectionError):
                    raise self._named(error) from cause
            except (*OWN_REFUSALS, errors.AddressInUseError):
                raise
            except errors.LocalrunError as error:
                raise self._other_program(f"it says {error.message}") from error
            time.sleep(LEAVING_S)  # a server that leaves hangs up, and then nothing listens
        return None

    def running(self) -> list[JsonObject]:
        """Return the loaded models as ``/api/ps`` gives them."""
        found: list[JsonObject] = self._call("GET", "/api/ps")["models"]
        return found

    def why(self, model: str) -> JsonObject:
        """Return how a loaded model is set up, and who chose what.

        Raises:
            ModelNotFoundError: it is not loaded, or there is none of the name.
        """
        return self._call("GET", f"/api/localrun/why?{urlencode({'model': model})}")

    def states(self) -> list[JsonObject]:
        """Return the models that are loaded, wanted or failing."""
        found: list[JsonObject] = self._call("GET", "/api/localrun/ps")["models"]
        return found

    def load(self, body: JsonObject) -> Generator[JsonObject, None, None]:
        """Load a model; yield how far it is, last of all the end.

        Raises:
            LocalrunError: it does not load.
        """
        yield from self._frames("/api/localrun/load", body)

    def removed(self, names: Sequence[str]) -> None:
        """Let the server end what it has loaded of models that were removed; blocks until then."""
        self._call("POST", f"{OWN}/removed", {"models": list(names)}, timeout_s=UNLOAD_TIMEOUT_S)

    def renamed(self, source: str, target: str) -> None:
        """Let the server carry what it has loaded along to a model's new name."""
        self._call("POST", f"{OWN}/renamed", {"source": source, "target": target})

    def unload(self, model: str) -> None:
        """Unload a model."""
        body = {"model": model, "keep_alive": 0}
        self._call("POST", "/api/generate", body, timeout_s=UNLOAD_TIMEOUT_S)

    def shut_down(self) -> None:
        """Ask the server to leave."""
        self._call("POST", "/api/localrun/shutdown", headers={"X-Localrun": "1"})

    def chat(self, body: JsonObject) -> Generator[JsonObject, None, None]:
        """Yield the objects of a ``/api/chat`` answer; closing the iterator cancels it.

        Those with a ``status`` tell how far the load of the model is.

        Raises:
            ServerUnreachableError: no server.
            BackendError: it went away in the middle.
            LocalrunError: what the server says, also in the middle of a stream.
        """
        yield from self._frames("/api/chat", body)

    def _frames(self, path: str, body: JsonObject) -> Generator[JsonObject, None, None]:
        """Yield the objects of an answer until the one that is ``done``."""
        connection, response = self._open("POST", path, body, timeout_s=None, headers=SIGNS_WANTED)
        try:
            is_done = False
            for line in self._lines(response):
                frame = json.loads(line)
                if "error" in frame:
                    raise _error_of(frame)
                yield frame
                is_done = frame.get("done", False)
            if not is_done:
                raise self._died()
        finally:
            connection.close()

    def _call(
        self,
        method: str,
        path: str,
        body: JsonObject | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> JsonObject:
        connection, response = self._open(
            method, path, body, timeout_s=timeout_s or CONNECT_TIMEOUT_S, headers=headers
        )
        try:
            answer = json.loads(response.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._gone("the server's answer cannot be read") from error
        finally:
            connection.close()
        if not isinstance(answer, dict):
            raise self._other_program("its answer is no JSON object")
        return answer

    def _open(
        self,
        method: str,
        path: str,
        body: JsonObject | None,
        *,
        timeout_s: float | None,
        headers: dict[str, str] | None = None,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = connect(self._settings)
        data = None if body is None else json.dumps(body).encode()
        headers = {**(headers or {}), **_key_header(self._settings)}
        try:
            connection.connect()
            connection.sock.settimeout(timeout_s)
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            _refuse_error(response)
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise errors.CertificateError(
                f"the certificate of {self._settings.url} is not trusted: {error.verify_message}",
                hint="LOCALRUN_TLS_CERT=FILE   names the certificate that it shows",
            ) from error
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            is_connected = connection.sock is not None
            connection.close()
            raise self._unreachable(error, is_connected=is_connected) from error
        except BaseException:
            connection.close()
            raise
        return connection, response

    def _lines(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        try:
            yield from response
        except (OSError, http.client.HTTPException) as error:
            raise self._died() from error

    def _died(self) -> errors.BackendError:
        return errors.BackendError(
            f"the server at {self._settings.address} went away in the middle of the answer",
            hint="type the command again: it starts a new server",
        )

    def _unreachable(
        self, error: Exception, *, is_connected: bool
    ) -> errors.ServerUnreachableError:
        """Return why no answer came."""
        host, address = self._settings.host, self._settings.address
        if isinstance(error, socket.gaierror | UnicodeError):
            return errors.ServerUnreachableError(
                f"the host of LOCALRUN_HOST cannot be found: {host}",
                hint="LOCALRUN_HOST=127.0.0.1:11435   is this machine, as without LOCALRUN_HOST",
            )
        if is_connected and isinstance(error, TimeoutError):
            return errors.ServerUnreachableError(
                f"a program listens on {address} and does not answer", hint=ANOTHER_PORT
            )
        if not isinstance(error, ConnectionError | http.client.HTTPException | ssl.SSLError):
            reason = getattr(error, "strerror", None) or error
            return errors.ServerUnreachableError(
                f"{address} cannot be reached: {reason}", hint="LOCALRUN_HOST is the address"
            )
        return self._gone("no localrun server answers")

    def _named(self, error: errors.ServerUnreachableError) -> errors.NetworkError:
        """Return what an error says of the program that listens at the address."""
        cause = error.__cause__
        if isinstance(cause, ssl.SSLError):
            return self._other_program("it does not speak HTTPS")
        if isinstance(cause, ConnectionError):
            return self._other_program("it hangs up")
        if isinstance(cause, http.client.HTTPException):
            return self._other_program("it does not speak HTTP")
        if isinstance(cause, ValueError) and not isinstance(cause, UnicodeError):
            return self._other_program("it answers without JSON")
        return error

    def _other_program(self, detail: str) -> errors.AddressInUseError:
        return errors.AddressInUseError(
            f"another program than localrun listens on {self._settings.address}: {detail}",
            hint=ANOTHER_PORT,
        )

    def _gone(self, what: str) -> errors.ServerUnreachableError:
        return errors.ServerUnreachableError(
            f"{what} at {self._settings.address}", hint="localrun serve   shows what is wrong"
        )


def connect(settings: Settings) -> http.client.HTTPConnection:
    """Return a connection to the server of the settings, which is not open yet.

    Raises:
        StorageError: the certificate that is to be trusted cannot be read.
    """
    if not settings.is_tls:
        return http.client.HTTPConnection(settings.host, settings.port, timeout=CONNECT_TIMEOUT_S)
    context = ssl.create_default_context()
    own = settings.access.tls_cert
    if own is not None:
        try:
            context.load_verify_locations(own)
        except (OSError, ssl.SSLError) as error:
            raise errors.StorageError(f"{own} cannot be read as a certificate: {error}") from error
    return http.client.HTTPSConnection(
        settings.host, settings.port, timeout=CONNECT_TIMEOUT_S, context=context
    )


def _key_header(settings: Settings) -> dict[str, str]:
    key = settings.access.api_key
    return {"Authorization": f"Bearer {key}"} if key else {}


def _refuse_error(response: http.client.HTTPResponse) -> None:
    if response.status >= ERROR_STATUS:
        raise _error_of(_parsed(response))


def _parsed(response: http.client.HTTPResponse) -> JsonObject:
    """Return the body of an error; one of another program says its status and its name."""
    try:
        value = json.loads(response.read())
    except ValueError:
        value = None
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        return value
    program = response.headers.get("Server", "")[:LONGEST_PROGRAM]
    told = f"HTTP {response.status} {response.reason}"
    return {"error": f"{told} ({program})" if program else told}


def _error_of(body: JsonObject) -> errors.LocalrunError:
    """Return the error that a body of the native API names."""
    hint = body.get("hint")
    said = hint if isinstance(hint, str) else None
    message = str(body.get("error")).removesuffix(f" ({said})")  # the server puts it there, too
    return errors.error_named(str(body.get("code")), message, hint=said)
