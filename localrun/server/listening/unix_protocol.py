"""Connections of a server's Unix socket.

To the application, a client of the Unix socket is a client on this machine (`LOCAL_CLIENT`): hosts,
origins and API keys are checked as for any other. A process of another user is hung up on. Each
response has the version of the server, so that a command needs no request of its own for it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from localrun import __version__
from localrun.server.listening.unix_socket import BACKLOG
from localrun.server.middleware.timeouts import TimeoutProtocol
from localrun.sockets import peer_of

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from localrun.server.listening.unix_socket import UnixListener

LOCAL_CLIENT = ("127.0.0.1", 0)
VERSION = (b"x-localrun-version", __version__.encode())


async def serve_unix(
    server: uvicorn.Server, listener: UnixListener, shutdown: asyncio.Event
) -> None:
    """Accept connections of the Unix socket until the server shuts down.

    Ends before the address is free, so that the next server finds the place free.
    """
    protocol = partial(
        UnixProtocol, config=server.config, server_state=server.server_state, app_state={}
    )
    loop = asyncio.get_running_loop()
    acceptor = await loop.create_unix_server(protocol, sock=listener.socket, backlog=BACKLOG)
    await shutdown.wait()
    listener.remove()
    acceptor.close()


class UnixProtocol(TimeoutProtocol):
    """A connection of this user."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        """Take the connection of a process of this user, and close any other."""
        super().connection_made(transport)
        self.client = LOCAL_CLIENT
        self.app = _with_version(self.app)
        if not _is_own(transport):
            transport.abort()


def _is_own(transport: asyncio.Transport) -> bool:
    """Return whether the process at the other end belongs to this user.

    Elsewhere than on Linux, the folder alone ensures it.
    """
    owns = True
    if sys.platform == "linux":
        try:
            owns = peer_of(transport.get_extra_info("socket"))[1] == os.geteuid()
        except OSError:
            owns = False
    return owns


def _with_version(app: ASGIApp) -> ASGIApp:
    """Return the application with the version of the server in each response."""

    async def versioned(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_versioned(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), VERSION]}
            await send(message)

        await app(scope, receive, send_versioned)

    return versioned
