"""A hub on this machine that speaks to the clients of Hugging Face and ModelScope.

    with fake_hub() as hub:
        hub.add("owner/repo", {"model-Q4_K_M.gguf": data, "README.md": b"..."})
        hub.faults.append(Fault.cut(1000))
        ...                # HF_ENDPOINT and MODELSCOPE_ENDPOINT are hub.url
        hub.requests       # what was asked, in order

As a program it serves every FOLDER/owner/repo/* and prints its URL on a line:

    python -m tests.fakes.hub FOLDER [--cdn]

A request is on the list before its answer begins.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tests.fakes.faults import Fault, FaultKind, take_fault
from tests.fakes.hub_routes import route
from tests.fakes.hub_stock import Stock
from tests.fakes.hub_wire import Reply, Request, parse_range, send_body, spoil

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FakeHub", "Fault", "Request", "fake_hub"]

Origin = Literal["hub", "cdn"]


class FakeHub(Stock):
    """A running hub, with a CDN on a port of its own if asked; ``close`` ends all connections."""

    def __init__(self, *, cdn: bool = False, token: str = "hf_let_me_in") -> None:  # noqa: S107
        super().__init__(token=token)
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._faults_lock = threading.Lock()
        self._servers = [_Server(self, "hub")] + ([_Server(self, "cdn")] if cdn else [])
        self.url = self._servers[0].url
        if cdn:
            self.cdn_url = self._servers[1].url
        for server in self._servers:
            server.start()

    @property
    def file_requests(self) -> list[Request]:
        """Return the GETs that may carry bytes of a file: at /resolve/, /repo?, /files/, /cdn/."""
        marks = ("/resolve/", "/repo?", "/files/", "/cdn/")
        gets = [request for request in self.requests if request.method == "GET"]
        return [request for request in gets if any(mark in request.path for mark in marks)]

    @property
    def cdn_requests(self) -> list[Request]:
        return [request for request in self.requests if request.origin == "cdn"]

    @property
    def has_leaked_token(self) -> bool:
        """Return whether an Authorization header has reached the CDN."""
        return any("Authorization" in request.headers for request in self.cdn_requests)

    def take_fault(self, request: Request, reply: Reply) -> Fault | None:
        """Return the fault for this answer, None for an honest one."""
        with self._faults_lock:
            fault = take_fault(self.faults, request, reply)
        if fault and fault.kind is FaultKind.EXPIRE:
            self.revoke(request.path)
        return fault

    def close(self) -> None:
        """Stop listening, drop every connection, and wait for the threads."""
        self.closing.set()
        for server in self._servers:
            server.stop()


@contextlib.contextmanager
def fake_hub(*, cdn: bool = False, token: str = "hf_let_me_in") -> Iterator[FakeHub]:  # noqa: S107
    """Run a hub for as long as the block lasts."""
    hub = FakeHub(cdn=cdn, token=token)
    try:
        yield hub
    finally:
        hub.close()


def main(folder: Path, *, cdn: bool) -> None:
    """Serve a folder until the process is ended."""
    with fake_hub(cdn=cdn) as hub:
        for repo in sorted(path for path in folder.glob("*/*") if path.is_dir()):
            files = sorted(path for path in repo.rglob("*") if path.is_file())
            repo_id = repo.relative_to(folder).as_posix()
            hub.add(repo_id, {path.relative_to(repo).as_posix(): path for path in files})
        sys.stdout.write(f"{hub.url}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


class _Server(ThreadingHTTPServer):
    """One origin; knows its open connections, so as to end them."""

    daemon_threads = False  # server_close waits for them
    request_queue_size = 128

    def __init__(self, hub: FakeHub, origin: Origin) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.hub = hub
        self.origin: Origin = origin
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name=self.url)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self._open.add(connection)
        return connection, address

    def close_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
            request.close()

    def shutdown_request(self, request: Any) -> None:
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == bytes(8):
            super().shutdown_request(request)
        else:
            self.close_request(request)  # a FIN must not go before the RST

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # the client left
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024
    server: _Server

    def answer(self) -> None:
        hub = self.server.hub
        request = self._request()
        hub.requests.append(request)
        right = route(hub, request)
        fault = hub.take_fault(request, right)
        self._send(spoil(right, fault), fault)

    do_GET = do_HEAD = do_PUT = answer  # noqa: N815 names of the base

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the name of the base
        """Say nothing."""

    def _request(self) -> Request:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return Request(
            method=self.command,
            path=self.path,
            range=parse_range(self.headers.get("Range")),
            headers=self.headers,
            origin=self.server.origin,
            body=body,
        )

    def _send(self, reply: Reply, fault: Fault | None) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        off_by = fault.amount if fault and fault.kind is FaultKind.LENGTH else 0
        if reply.status != 304:  # the length would be the file's
            self.send_header("Content-Length", str(max(reply.stop - reply.start + off_by, 0)))
        self.end_headers()
        self.wfile.flush()
        if self.command != "HEAD" and not send_body(
            self.connection, reply, fault, self.server.hub.closing
        ):
            self.close_connection = True


if __name__ == "__main__":
    main(Path(sys.argv[1]), cdn="--cdn" in sys.argv[2:])
