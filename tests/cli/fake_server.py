"""A localrun server without a model: it says what a test tells it to say."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

from localrun import __version__
from localrun.sockets import HTTP, socket_path

if TYPE_CHECKING:
    from collections.abc import Iterator

JsonObject = dict[str, Any]
if sys.platform == "win32":
    UNIX_FAMILY = socket.AF_INET  # whose tests are not collected
else:
    UNIX_FAMILY = socket.AF_UNIX

END: JsonObject = {
    "message": {"role": "assistant", "content": ""},
    "done": True,
    "done_reason": "stop",
    "total_duration": 2_500_000_000,
    "load_duration": 1_000_000_000,
    "prompt_eval_count": 10,
    "prompt_eval_duration": 500_000_000,
    "eval_count": 20,
    "eval_duration": 1_000_000_000,
}


def say(text: str, thinking: str = "") -> JsonObject:
    message = {"role": "assistant", "content": text} | ({"thinking": thinking} if thinking else {})
    return {"message": message, "done": False}


@dataclass(slots=True)
class Script:
    """What the server says, and what it has heard."""

    answer: list[JsonObject] = field(default_factory=lambda: [say("Hel"), say("lo."), END])
    answers: list[list[JsonObject]] = field(default_factory=list)  # of the first requests
    load_signs: list[JsonObject] = field(
        default_factory=lambda: [{"status": "ready", "load_s": 0.1, "done": True}]
    )
    loads: list[JsonObject] = field(default_factory=list)  # what it was asked to load
    num_hang_ups: int = 0  # requests that get no response
    holds: bool = False  # after the answer, wait for the client to leave
    running: list[JsonObject] = field(default_factory=list)
    models: list[JsonObject] = field(default_factory=list)  # of /api/tags
    version: JsonObject = field(
        default_factory=lambda: {"version": "0.13.5", "localrun": __version__}
    )
    why: JsonObject = field(default_factory=dict)
    heard: list[JsonObject] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    sent_headers: dict[str, str] = field(default_factory=dict)  # with each response
    client_left: threading.Event = field(default_factory=threading.Event)
    told_to_leave: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def do_GET(self) -> None:
        self.script.paths.append(self.path)
        bodies = {
            "/api/version": self.script.version,
            "/api/localrun/ps": {"models": self.script.running},
            "/api/ps": {"models": self.script.running},
            "/api/tags": {"models": self.script.models},
            "/v1/models": {"data": [{"id": model["name"]} for model in self.script.models]},
            "/healthz": {"status": "ok"},
        }
        self.reply(self.script.why if "/why?" in self.path else bodies[self.path])

    def do_POST(self) -> None:
        self.script.paths.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.script.num_hang_ups:
            self.script.num_hang_ups -= 1
            self.close_connection = True
            return
        if self.path == "/api/localrun/shutdown":
            is_ours = self.headers.get("X-Localrun") == "1"
            self.reply({"status": "leaving"}, 200 if is_ours else 400)
            if is_ours:
                self.script.told_to_leave.set()
                threading.Thread(target=self.leave).start()
            return
        is_load = self.path == "/api/localrun/load"
        (self.script.loads if is_load else self.script.heard).append(json.loads(body))
        if self.path == "/api/generate":
            self.reply({"done": True})
        elif is_load:
            self.stream(self.script.load_signs)
        else:
            answers = self.script.answers
            self.stream(answers.pop(0) if answers else self.script.answer)

    def leave(self) -> None:
        """Listen no more."""
        self.server.shutdown()
        self.server.server_close()

    def stream(self, frames: list[JsonObject]) -> None:
        """Send the answer; without its end, the connection is cut in the middle."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_head()
        for piece in frames:
            self.chunk(json.dumps(piece).encode() + b"\n")
        if self.script.holds and frames is self.script.answer:
            with contextlib.suppress(ConnectionError):
                self.connection.recv(1)
            self.script.client_left.set()
        elif frames[-1].get("done"):
            self.chunk(b"")
        self.close_connection = True

    def end_head(self) -> None:
        for name, value in self.script.sent_headers.items():
            self.send_header(name, value)
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def reply(self, body: JsonObject, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_head()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
        """Say nothing on stderr."""


@dataclass(frozen=True, slots=True)
class FakeServer:
    script: Script
    address: str

    def environment(self, log_dir: Path) -> dict[str, str]:
        """Return the environment in which commands find this server."""
        return environment(self.address, log_dir)


def environment(address: str, log_dir: Path) -> dict[str, str]:
    plain = {"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1", "PYTHONUNBUFFERED": ""}
    places = {"LOCALRUN_HOST": address, "LOCALRUN_LOG_DIR": str(log_dir)}
    places |= {"LOCALRUN_CHATS": str(log_dir / "chats"), "XDG_STATE_HOME": str(log_dir / "state")}
    return {**os.environ, **plain, **places}


class UnixServer(ThreadingHTTPServer):
    address_family = UNIX_FAMILY

    def server_bind(self) -> None:
        """Bind as a server without a host name does."""
        TCPServer.server_bind(self)


@contextlib.contextmanager
def fake_server() -> Iterator[FakeServer]:
    script = Script()
    server = ThreadingHTTPServer(("127.0.0.1", 0), scripted(script))
    with running(server):
        yield FakeServer(script, f"127.0.0.1:{server.server_address[1]}")


@contextlib.contextmanager
def local_fake_server() -> Iterator[FakeServer]:
    """Serve at the Unix socket of an address alone, with the version in each response."""
    script = Script(sent_headers={"X-Localrun-Version": __version__})
    address = unused_address()
    path = socket_path(address, HTTP)
    assert path is not None
    Path(path).parent.mkdir(mode=0o700, exist_ok=True)
    with running(UnixServer(path, scripted(script))):  # type: ignore[arg-type] # typeshed knows TCP
        yield FakeServer(script, address)
    Path(path).unlink()


def scripted(script: Script) -> type[Handler]:
    return type("ScriptedHandler", (Handler,), {"script": script})


@contextlib.contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def unused_address() -> str:
    """Return an address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"
