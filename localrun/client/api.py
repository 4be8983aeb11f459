"""HTTP client of a localrun server; blocking, with the standard library alone.

An error of the server is raised as the same class of error here.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from localrun import errors

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from localrun.runner.messages import JsonObject
    from localrun.settings import Settings


OWN = "/api/localrun"
ERROR_STATUS = 400
CONNECT_TIMEOUT_S = 5.0
UNLOAD_TIMEOUT_S = 60.0  # running answers end and the memory of models is freed
SHUTDOWN_S = 0.2
MAX_NAMES = 1000  # in one request
LONGEST_PROGRAM = 50
OWN_ERRORS = (errors.UsageError, errors.CertificateError, errors.OverloadedError)
ANOTHER_PORT = "LOCALRUN_HOST=127.0.0.1:11500 localrun run ...   uses another port"
PROGRESS = {"X-Localrun-Progress": "1"}


class LocalrunClient:
    """Client of one server; each call opens its own connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def version(self) -> JsonObject | None:
        """Return the version object of the server, None if nothing listens on the address.

        Raises:
            UnauthorizedError: the server requires another API key.
            CertificateError: the certificate of the server is not trusted.
            AddressInUseError: the program that listens is not a localrun server.
            ServerUnreachableError: the host is unknown or unreachable, or the program that
                listens does not answer in time.
        """
        for is_last in (False, True):
            try:
                return self._call("GET", "/api/version")
            except errors.ServerUnreachableError as error:
                cause = error.__cause__
                if isinstance(cause, ConnectionRefusedError):
                    return None
                if is_last or not isinstance(cause, ConnectionError):
                    raise self._named_error(error) from cause
            except (*OWN_ERRORS, errors.AddressInUseError):
                raise
            except errors.LocalrunError as error:
                raise self._other_program(f"it says {error.message}") from error
            time.sleep(SHUTDOWN_S)  # a server in shutdown closes connections, then its socket
        return None

    def running(self) -> list[JsonObject]:
        """Return the loaded models of ``/api/ps``."""
        models: list[JsonObject] = self._call("GET", "/api/ps")["models"]
        return models

    def why(self, model: str) -> JsonObject:
        """Return the settings of a loaded model and their sources.

        Raises:
            ModelNotFoundError: the model is not loaded or does not exist.
        """
        return self._call("GET", f"{OWN}/why?{urlencode({'model': model})}")

    def states(self) -> list[JsonObject]:
        """Return the models that are loaded, waiting to be loaded, or failed."""
        models: list[JsonObject] = self._call("GET", f"{OWN}/ps")["models"]
        return models

    def load(self, body: JsonObject) -> Generator[JsonObject, None, None]:
        """Load a model; yield its progress, then the final object.

        Raises:
            LocalrunError: the model does not load.
        """
        yield from self._frames(f"{OWN}/load", body)

    def removed(self, names: Sequence[str]) -> None:
        """Unload models that were removed from the store; blocks until they are unloaded."""
        for start in range(0, len(names), MAX_NAMES):
            body = {"models": list(names[start : start + MAX_NAMES])}
            self._call("POST", f"{OWN}/removed", body, timeout_s=UNLOAD_TIMEOUT_S)

    def renamed(self, source: str, target: str) -> None:
        """Rename a loaded model."""
        self._call("POST", f"{OWN}/renamed", {"source": source, "target": target})

    def unload(self, model: str) -> None:
        """Unload a model."""
        body = {"model": model, "keep_alive": 0}
        self._call("POST", "/api/generate", body, timeout_s=UNLOAD_TIMEOUT_S)

    def shut_down(self) -> None:
        """Shut the server down."""
        self._call("POST", f"{OWN}/shutdown", headers={"X-Localrun": "1"})

    def chat(self, body: JsonObject) -> Generator[JsonObject, None, None]:
        """Yield the objects of a ``/api/chat`` answer; closing the iterator cancels the request.

        Objects with a ``status`` report the progress of loading the model.

        Raises:
            ServerUnreachableError: no server answers.
            BackendError: the connection broke in the middle of the answer.
            LocalrunError: the error that the server reports, also in the middle of the stream.
        """
        yield from self._frames("/api/chat", body)

    def _frames(self, path: str, body: JsonObject) -> Generator[JsonObject, None, None]:
        """Yield the objects of an answer up to the object that is ``done``."""
        connection, response = self._open("POST", path, body, timeout_s=None, headers=PROGRESS)
        try:
            is_done = False
            for line in self._lines(response):
                frame = json.loads(line)
                if "error" in frame:
                    raise _error_of(frame)
                yield frame
                is_done = frame.get("done", False)
            if not is_done:
                raise self._connection_lost()
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
            raise self._other_program("its answer is not a JSON object")
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
            _raise_error(response)
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
            raise self._connection_lost() from error

    def _connection_lost(self) -> errors.BackendError:
        return errors.BackendError(
            f"the server at {self._settings.address} stopped in the middle of the answer",
            hint="run the command again: it starts a new server",
        )

    def _unreachable(
        self, error: Exception, *, is_connected: bool
    ) -> errors.ServerUnreachableError:
        """Return the error for a missing answer."""
        host, address = self._settings.host, self._settings.address
        if isinstance(error, socket.gaierror | UnicodeError):
            return errors.ServerUnreachableError(
                f"the host of LOCALRUN_HOST cannot be found: {host}",
                hint="LOCALRUN_HOST=127.0.0.1:11435   is the default, this machine",
            )
        if is_connected and isinstance(error, TimeoutError):
            return errors.ServerUnreachableError(
                f"a program listens on {address} and does not answer", hint=ANOTHER_PORT
            )
        if not isinstance(error, ConnectionError | http.client.HTTPException | ssl.SSLError):
            reason = getattr(error, "strerror", None) or error
            return errors.ServerUnreachableError(
                f"{address} cannot be reached: {reason}", hint="LOCALRUN_HOST sets the address"
            )
        return self._gone("no localrun server answers")

    def _named_error(self, error: errors.ServerUnreachableError) -> errors.NetworkError:
        """Return the error that names how the listening program fails to be a localrun server."""
        cause = error.__cause__
        if isinstance(cause, ssl.SSLError):
            return self._other_program("it does not speak HTTPS")
        if isinstance(cause, ConnectionError):
            return self._other_program("it closes the connection")
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

    def _gone(self, message: str) -> errors.ServerUnreachableError:
        return errors.ServerUnreachableError(
            f"{message} at {self._settings.address}", hint="localrun serve   shows the error"
        )


def connect(settings: Settings) -> http.client.HTTPConnection:
    """Return a connection to the server of the settings; it is not open yet.

    Raises:
        StorageError: the trusted certificate cannot be read.
    """
    if not settings.is_tls:
        return http.client.HTTPConnection(settings.host, settings.port, timeout=CONNECT_TIMEOUT_S)
    context = ssl.create_default_context()
    trusted = settings.access.tls_cert
    if trusted is not None:
        try:
            context.load_verify_locations(trusted)
        except (OSError, ssl.SSLError) as error:
            raise errors.StorageError(
                f"{trusted} cannot be read as a certificate: {error}"
            ) from error
    return http.client.HTTPSConnection(
        settings.host, settings.port, timeout=CONNECT_TIMEOUT_S, context=context
    )


def _key_header(settings: Settings) -> dict[str, str]:
    key = settings.access.api_key
    return {"Authorization": f"Bearer {key}"} if key else {}


def _raise_error(response: http.client.HTTPResponse) -> None:
    if response.status >= ERROR_STATUS:
        raise _error_of(_parsed(response))


def _parsed(response: http.client.HTTPResponse) -> JsonObject:
    """Return the body of an error; for another program, its HTTP status and its name."""
    try:
        value = json.loads(response.read())
    except ValueError:
        value = None
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        return value
    program = response.headers.get("Server", "")[:LONGEST_PROGRAM]
    status = f"HTTP {response.status} {response.reason}"
    return {"error": f"{status} ({program})" if program else status}


def _error_of(body: JsonObject) -> errors.LocalrunError:
    """Return the error in a body of Ollama's dialect."""
    hint = body.get("hint") if isinstance(body.get("hint"), str) else None
    message = str(body.get("error")).removesuffix(f" ({hint})")  # repeated there by the server
    return errors.error_named(str(body.get("code")), message, hint=hint)
