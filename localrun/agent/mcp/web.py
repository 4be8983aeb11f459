"""Transport of MCP by streamable HTTP: the SDK's, with bounded responses.

Proxies of the environment are used for other machines alone. Invariant: a response has at most
`LARGEST_RESPONSE` bytes; the SDK follows redirects only within the server's origin.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx
from mcp.client.streamable_http import streamable_http_client

from localrun.agent.mcp_file import is_own_machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from localrun.agent.mcp.command import Incoming, Outgoing
    from localrun.agent.mcp_file import UrlServer

LARGEST_RESPONSE = 32 * 1024 * 1024  # bytes
FIRST_ERROR = 400
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 30.0, 600.0


class WatchedClient(httpx.AsyncClient):
    """Client that reports each message that fails; the SDK would wait for its answer for ever."""

    def __init__(self, server: UrlServer, on_failure: Callable[[str], None]) -> None:
        super().__init__(
            headers=dict(server.headers),
            timeout=httpx.Timeout(CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            trust_env=not is_own_machine(server.url),
        )
        self._on_failure = on_failure

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:  # noqa: ANN401 - of the base
        """Send a request; the body of its response is bounded."""
        report = self._on_failure if request.method == "POST" else _ignore
        try:
            response = await super().send(request, **options)
        except httpx.TransportError as error:
            report(str(error) or type(error).__name__)
            raise
        if response.status_code >= FIRST_ERROR:
            report(f"HTTP status {response.status_code}")
        elif isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = BoundedStream(response.stream, report)
        return response


class BoundedStream(httpx.AsyncByteStream):
    """Body of a response that fails when it is too large."""

    def __init__(self, stream: httpx.AsyncByteStream, report: Callable[[str], None]) -> None:
        self._stream = stream
        self._report = report

    async def __aiter__(self) -> AsyncIterator[bytes]:
        num_bytes = 0
        try:
            async for piece in self._stream:
                num_bytes += len(piece)
                if num_bytes > LARGEST_RESPONSE:
                    raise httpx.ReadError(f"the response has more than {LARGEST_RESPONSE} bytes")
                yield piece
        except httpx.TransportError as error:
            self._report(str(error) or type(error).__name__)
            raise

    async def aclose(self) -> None:
        """Close the response."""
        await self._stream.aclose()


@contextlib.asynccontextmanager
async def open_url(
    server: UrlServer, on_failure: Callable[[str], None]
) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """Open the streams of messages of a server; nothing is sent yet.

    ``on_failure`` gets the reason if a message does not reach the server, or its answer is lost.
    """
    client = WatchedClient(server, on_failure)
    async with client, streamable_http_client(server.url, http_client=client) as streams:
        yield streams[0], streams[1]


def _ignore(reason: str) -> None:
    """Ignore a failure of the stream of notifications, which servers may lack."""
