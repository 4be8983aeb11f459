"""A server that says just what a test wrote down, and keeps what it was sent."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

MAX_HEADERS = 1 << 16


class Scripted:
    """The answers, in order; the last one again and again. Each closes its connection."""

    def __init__(self, answers: tuple[bytes, ...]) -> None:
        self.answers = list(answers)
        self.requests: list[str] = []
        self.url = ""
        self.lock = threading.Lock()

    def answer(self, request: str) -> bytes:
        with self.lock:
            self.requests.append(request)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def http(status: str, body: bytes = b"", *, length: bool = True, **headers: str) -> bytes:
    """Return an answer; an underscore in a header's name is a hyphen."""
    if length:
        headers["Content_Length"] = str(len(body))
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "Connection: close", "", ""]).encode() + body


@contextlib.contextmanager
def scripted(*answers: bytes, context: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    script = Scripted(answers)

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.speak()

        def speak(self) -> None:
            sock = self.request
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
            with contextlib.closing(sock):
                request = b""
                while b"\r\n\r\n" not in request and (data := sock.recv(MAX_HEADERS)):
                    request += data
                if request:
                    sock.sendall(script.answer(request.decode()))

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = False

        def handle_error(self, *_: Any) -> None:
            """Say nothing: a client left."""

    server = Server(("127.0.0.1", 0), Connection)
    script.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
