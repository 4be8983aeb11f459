"""An engine on a free port of this machine whose bytes a test writes, one connection at a time.

A script is called for each request with the request and a `Wire` to write to; what it returns ends
the connection.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that the engine received."""

    method: str
    path: str
    headers: dict[str, str]
    raw_body: bytes

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.raw_body)
        return body


class Wire:
    """The connection of one request."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def head(self, media_type: str = "text/event-stream") -> None:
        self.sock.sendall(HEAD % media_type.encode())

    def status(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    def json(self, value: Any) -> None:
        self.head("application/json")
        self.sock.sendall(json.dumps(value).encode())

    def event(self, value: Any) -> None:
        self.sock.sendall(b"data: " + json.dumps(value).encode() + b"\n\n")

    def delta(self, finish_reason: str | None = None, **delta: Any) -> None:
        self.event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})

    def done(self, reason: str = "stop", **usage: Any) -> None:
        self.delta(reason)
        if usage:
            self.event({"choices": [], "usage": usage})
        self.sock.sendall(b"data: [DONE]\n\n")

    def wait_for_end(self) -> None:
        """Return when the other side has closed the connection."""
        self.sock.settimeout(HANG_S)
        with contextlib.suppress(ConnectionError):
            while self.sock.recv(4096):
                pass


Script = "Callable[[Asked, Wire], None]"


@dataclass(slots=True)
class FakeEngine:
    """The engine: its address, its script, and what it was asked."""

    url: str
    script: Callable[[Asked, Wire], None]
    asked: list[Asked] = field(default_factory=list)
    num_ended: int = 0  # connections whose script has returned

    def paths(self) -> list[str]:
        return [each.path for each in self.asked]


def says(*texts: str, reason: str = "stop", **usage: Any) -> Callable[[Asked, Wire], None]:
    """Return a script that streams some texts, and lists a model."""

    def script(asked: Asked, wire: Wire) -> None:
        if asked.path.endswith("/models"):
            wire.json({"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]})
            return
        wire.head()
        for text in texts:
            wire.delta(content=text)
        wire.done(reason, **usage)

    return script


@contextlib.contextmanager
def fake_engine(script: Callable[[Asked, Wire], None]) -> Iterator[FakeEngine]:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        engine = FakeEngine(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", script)
        thread = threading.Thread(target=_accept, args=(listener, engine), daemon=True)
        thread.start()
        yield engine
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def refused_url() -> str:
    """Return an address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


def _accept(listener: socket.socket, engine: FakeEngine) -> None:
    with contextlib.suppress(OSError):
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=_serve, args=(sock, engine), daemon=True).start()


def _serve(sock: socket.socket, engine: FakeEngine) -> None:
    with sock, contextlib.suppress(ConnectionError, OSError):
        asked = _read(sock)
        if asked is not None:
            engine.asked.append(asked)
            engine.script(asked, Wire(sock))
    engine.num_ended += 1


def _read(sock: socket.socket) -> Asked | None:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = sock.recv(65536)
        if not piece:
            return None
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += sock.recv(65536)
    method, path, _ = first.split()
    return Asked(method, path, headers, body)
