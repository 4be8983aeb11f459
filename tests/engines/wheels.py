"""Wheels and an index on loopback for the tests of quickstart's engine."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import environment
from engines.wheel_file import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = b"the bytes of a wheel" * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()
HOST = Host("linux_x86_64", (2, 36), (3, 11))


def wheel_name(*, version: str = "", platform: str = "manylinux_2_28_x86_64") -> str:
    pinned = version or environment.pinned_version()
    return f"llama_cpp_python-{pinned}-py3-none-{platform}.whl"


@dataclass
class Server:
    """An HTTP server: a path's content, or its fault."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    truncated: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def add_index(self, name: str, *wheels: str, digest: str | None = DIGEST) -> str:
        """Serve an index whose page links to the wheels, with their content."""
        fragment = f"#sha256={digest}" if digest else ""
        page = "".join(f'<a href="/files/{wheel}{fragment}">{wheel}</a>\n' for wheel in wheels)
        self.files[f"/{name}/llama-cpp-python/"] = page.encode()
        self.files |= {f"/files/{wheel}": CONTENT for wheel in wheels}
        return f"{self.url}/{name}"


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server on loopback."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Routes)
    server = httpd.served = Server(f"http://127.0.0.1:{httpd.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()


class _Routes(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Server = self.server.served  # type: ignore[attr-defined]
        server.requests.append(self.path)
        if self.path in server.hanging:
            server.released.wait()
            return
        if self.path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[self.path])
            self.end_headers()
            return
        content = server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        body = content or b""
        self.wfile.write(body[: len(body) // 2] if self.path in server.truncated else body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""
