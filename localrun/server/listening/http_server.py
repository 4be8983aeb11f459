"""HTTP server: uvicorn without its timer, so that an idle server never wakes up.

uvicorn's main loop wakes up ten times a second to ask whether it should exit, and renews the Date
header. Here an event ends the main loop, and the Date header is renewed when a response needs it.
Without requests, the event loop has no timer.
"""

from __future__ import annotations

import contextlib
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

from uvicorn.server import Server, ServerState

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from uvicorn.config import Config

Headers = list[tuple[bytes, bytes]]


class HttpServer(Server):
    """uvicorn's server, which serves until ``shutdown`` is set.

    Installs no signal handlers: uvicorn's raise signals again before runners are closed.
    """

    def __init__(self, config: Config, shutdown: asyncio.Event) -> None:
        super().__init__(config)
        self.server_state = _DatedState(config)
        self._shutdown = shutdown

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing, in place of installing signal handlers."""
        yield

    async def main_loop(self) -> None:
        """Wait for the shutdown."""
        await self._shutdown.wait()
        self.should_exit = True


class _DatedState(ServerState):
    """State of all connections, whose default headers have the date of now."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._second = 0
        self._headers: Headers = []
        super().__init__()

    @property
    def default_headers(self) -> Headers:
        """Return the headers of a response that is sent now."""
        second = int(time.time())
        if second != self._second:
            date = (b"date", formatdate(second, usegmt=True).encode())
            self._second, self._headers = second, [date, *self._config.encoded_headers]
        return self._headers

    @default_headers.setter
    def default_headers(self, _: Headers) -> None:
        """Ignore the empty list of uvicorn's constructor."""
