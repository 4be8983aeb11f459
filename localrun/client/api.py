"""HTTP client of a localrun server; blocking, with the standard library alone.

An error of the server is raised as the same class of error here.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from localrun import errors
from localrun.client.connecting import (
    CONNECT_TIMEOUT_S,
    connect,
    connect_local,
    server_process,
    with_tls,
)
from localrun.client.failures import (
    connection_error,
    connection_lost,
    identified,
    other_program,
    reported_error,
    response_error,
    unreachable,
)
from localrun.client.http import ProtocolError, ServerResponse, send_request
from localrun.client.service_address import has_service, is_asleep
from localrun.system.processes import is_program, watch_process

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator, Iterator, Sequence

    from localrun.runner.messages import JsonObject
    from localrun.settings import Settings
    from localrun.system.processes import ProcessWatch


OWN = "/api/localrun"
ERROR_STATUS = 400
HEAD_TIMEOUT_S = 60.0  # of a streamed answer; the server may have been started just now
LOAD_TIMEOUT_S = 600.0  # an answer that is not streamed waits for the load of its model
UNLOAD_TIMEOUT_S = 60.0  # running answers end and the memory of models is freed
RENDER_TIMEOUT_S = 600.0  # the model may have to be loaded first
SHUTDOWN_S = 0.2
MAX_NAMES = 1000  # in one request
OWN_ERRORS = (errors.UsageError, errors.CertificateError, errors.OverloadedError)
PROGRESS = {"X-Localrun-Progress": "1"}
VERSION_HEADER = "x-localrun-version"  # of responses over the Unix socket


class LocalrunClient:
    """Client of one server; each call opens its own connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server_version: str | None = None
        self._on_version: Callable[[str], None] | None = None

    def when_version_is_known(self, report: Callable[[str], None]) -> None:
        """Call ``report`` with the version of the server: at once, or with the next response."""
        self._on_version = report
        self._report_version(None)

    def is_local(self) -> bool:
        """Return whether the server listens on a Unix socket, which only localrun can have."""
        connection = connect_local(self._settings, CONNECT_TIMEOUT_S)
        _close(connection)
        return connection is not None

    def has_service(self) -> bool:
        """Return whether a service manager listens on the address, and starts the server."""
        return has_service(self._settings)

    def is_asleep(self) -> bool:
        """Return whether a request would start the server: a service that does not run."""
        return is_asleep(self._settings) and not self.is_local()

    def open_process(self) -> ProcessWatch | None:
        """Return the server's process, None if it cannot be known: on another machine."""
        process_id = server_process(self._settings)
        if process_id is None and self._settings.is_loopback:  # a system that does not name it
            process_id = (self.version() or {}).get("pid")
            if not isinstance(process_id, int) or not is_program(process_id):
                return None
        return watch_process(process_id) if process_id is not None else None

    def version(self, timeout_s: float | None = None) -> JsonObject | None:
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
                version = self._call("GET", "/api/version", timeout_s=timeout_s)
            except errors.ServerUnreachableError as error:
                cause = error.__cause__
                if isinstance(cause, ConnectionRefusedError):
                    return None
                if is_last or not isinstance(cause, ConnectionError):
                    raise identified(self._settings, error) from cause
            except (*OWN_ERRORS, errors.AddressInUseError):
                raise
            except errors.LocalrunError as error:
                raise other_program(self._settings, f"it says {error.message}") from error
            else:
                self._report_version(version.get("localrun"))
                return version
            time.sleep(SHUTDOWN_S)  # a server in shutdown closes connections, then its socket
        return None

    def check_health(self) -> None:
        """Return if the server answers, which needs no API key.

        Raises:
            LocalrunError: it does not.
        """
        self._call("GET", "/healthz")

    def running(self) -> list[JsonObject]:
        """Return the loaded models of ``/api/ps``."""
        models: list[JsonObject] = self._call("GET", "/api/ps")["models"]
        return models

    def models(self) -> list[JsonObject]:
        """Return the models of ``/api/tags``."""
        models: list[JsonObject] = self._call("GET", "/api/tags")["models"]
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

    def embed(self, body: JsonObject) -> JsonObject:
        """Return the answer of ``/api/embed``.

        Raises:
            LocalrunError: the model cannot embed the text.
        """
        return self._call("POST", "/api/embed", body, timeout_s=LOAD_TIMEOUT_S)

    def chat(self, body: JsonObject) -> Generator[JsonObject, None, None]:
        """Yield the objects of a ``/api/chat`` answer; closing the iterator cancels the request.

        Objects with a ``status`` report the progress of loading the model.

        Raises:
            ServerUnreachableError: no server answers.
            BackendError: the connection broke in the middle of the answer.
            LocalrunError: the error that the server reports, also in the middle of the stream.
        """
        yield from self._frames("/api/chat", body)

    def rendered(self, body: JsonObject) -> str:
        """Return the prompt of an ``/api/chat`` request as the model gets it; loads the model.

        Raises:
            LocalrunError: the request is refused.
        """
        request = {**body, "stream": False, "_debug_render_only": True}
        answer = self._call("POST", "/api/chat", request, timeout_s=RENDER_TIMEOUT_S)
        text: str = answer["_debug_info"]["rendered_template"]
        return text

    def num_tokens(self, model: str, text: str) -> int:
        """Return the number of tokens of a text, without the tokens that begin a prompt.

        Raises:
            LocalrunError: the model cannot be loaded.
        """
        body = {"model": model, "prompt": text, "add_special_tokens": False}
        answer = self._call("POST", "/v1/tokenize", body, timeout_s=RENDER_TIMEOUT_S)
        return int(answer["count"])

    def _frames(self, path: str, body: JsonObject) -> Generator[JsonObject, None, None]:
        """Yield the objects of an answer up to the object that is ``done``."""
        response = self._open("POST", path, body, timeout_s=HEAD_TIMEOUT_S, headers=PROGRESS)
        with contextlib.closing(response):
            response.wait_for_ever()
            is_done = False
            for line in self._lines(response):
                frame = json.loads(line)
                if "error" in frame:
                    raise reported_error(frame)
                yield frame
                is_done = frame.get("done", False)
            if not is_done:
                raise connection_lost(self._settings)

    def _call(
        self,
        method: str,
        path: str,
        body: JsonObject | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> JsonObject:
        response = self._open(
            method, path, body, timeout_s=timeout_s or CONNECT_TIMEOUT_S, headers=headers
        )
        with contextlib.closing(response):
            try:
                answer = json.loads(response.read())
            except (OSError, ValueError, ProtocolError) as error:
                raise unreachable(self._settings, "the server's answer cannot be read") from error
        if not isinstance(answer, dict):
            raise other_program(self._settings, "its answer is not a JSON object")
        return answer

    def _open(
        self,
        method: str,
        path: str,
        body: JsonObject | None,
        *,
        timeout_s: float,
        headers: dict[str, str] | None = None,
    ) -> ServerResponse:
        data = None if body is None else json.dumps(body).encode()
        connection: socket.socket | None = None
        try:
            connection = connect(self._settings, CONNECT_TIMEOUT_S)
            connection = with_tls(connection, self._settings)
            connection.settimeout(timeout_s)
            send_request(connection, method, path, {**self._headers(), **(headers or {})}, data)
            return self._checked(ServerResponse(connection))
        except (OSError, UnicodeError, ProtocolError) as error:
            _close(connection)
            is_connected = connection is not None
            raise connection_error(self._settings, error, is_connected=is_connected) from error
        except BaseException:
            _close(connection)
            raise

    def _checked(self, response: ServerResponse) -> ServerResponse:
        """Return a response that reports no error; note the version of the server."""
        with contextlib.ExitStack() as on_error:
            on_error.callback(response.close)
            self._report_version(response.headers.get(VERSION_HEADER))
            if response.status >= ERROR_STATUS:
                raise response_error(response)
            on_error.pop_all()
        return response

    def _headers(self) -> dict[str, str]:
        key, host = self._settings.access.api_key, self._settings.address
        name = host if host.isascii() else host.encode("idna").decode()
        return {"Host": name, **({"Authorization": f"Bearer {key}"} if key else {})}

    def _lines(self, response: ServerResponse) -> Iterator[bytes]:
        try:
            yield from response.lines()
        except (OSError, ProtocolError) as error:
            raise connection_lost(self._settings) from error

    def _report_version(self, version: str | None) -> None:
        if version is not None:
            self._server_version = version
        if self._server_version is not None and self._on_version is not None:
            report, self._on_version = self._on_version, None
            report(self._server_version)


def _close(connection: socket.socket | None) -> None:
    if connection is not None:
        connection.close()
