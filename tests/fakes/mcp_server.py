"""An MCP server of the official SDK, over stdio, or over HTTP at a port that it prints.

python -m tests.fakes.mcp_server [http]
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from typing import Any

from mcp.server.fastmcp import FastMCP
from mcp.types import ImageContent

server = FastMCP("calculus", log_level="ERROR")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
async def wait_for_ever() -> str:
    """Never answer."""
    await asyncio.Event().wait()
    return "never"


@server.tool()
def fail() -> str:
    """Fail."""
    message = "the tool has failed"
    raise ValueError(message)


@server.tool()
def huge() -> str:
    """Return three million characters."""
    return "x" * 3_000_000


@server.tool()
def picture() -> ImageContent:
    """Return an image."""
    return ImageContent(type="image", data="AAAA", mimeType="image/png")


@server.tool()
def environment() -> list[str]:
    """Return the names of the variables."""
    return sorted(os.environ)


@server.tool()
def leave() -> str:
    """End the server in the middle of a call."""
    os._exit(1)


@server.tool()
def start_child() -> int:
    """Start a process in a session of its own that ignores the end of this one."""
    child = subprocess.Popen(["sleep", "10000"], start_new_session=True)
    return child.pid


@server.tool(name="odd name/with:signs")
def odd() -> str:
    """Have an odd name."""
    return "odd"


def serve_http() -> None:
    """Serve on a free port of the loopback address, and print it."""
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)  # noqa: T201 - read by the test
    app: Any = server.streamable_http_app()
    asyncio.run(uvicorn.Server(uvicorn.Config(app, log_level="error")).serve([listener]))


if __name__ == "__main__":
    if sys.argv[1:] == ["http"]:
        serve_http()
    else:
        server.run()
