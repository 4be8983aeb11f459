"""Transport of MCP by streamable HTTP: the SDK's, with bounded responses.

Proxies of the environment are used for other machines alone. Invariant: a response has at most
`LARGEST_RESPONSE` bytes; the SDK follows redirects only within the server's origin.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx
from mcp.client.streamable_http import streamable_http_client

from localrun.agent.mcp_file import is_own_machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from localrun.agent.mcp.command import Incoming, Outgoing
    from localrun.agent.mcp_file import UrlServer

LARGEST_RESPONSE = 32 * 1024 * 1024  # bytes
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 30.0, 600.0


class BoundedStream(httpx.AsyncByteStream):
    """Body of a response that fails when it is too large."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        num_bytes = 0
        async for piece in self._stream:
            num_bytes += len(piece)
            if num_bytes > LARGEST_RESPONSE:
                raise httpx.ReadError(f"the response has more than {LARGEST_RESPONSE} bytes")
            yield piece

    async def aclose(self) -> None:
        """Close the response."""
        await self._stream.aclose()


@contextlib.asynccontextmanager
async def open_url(server: UrlServer) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """Open the streams of messages of a server; nothing is sent yet."""
    client = httpx.AsyncClient(
        headers=dict(server.headers),
        timeout=httpx.Timeout(CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
        event_hooks={"response": [_bound]},
        trust_env=not is_own_machine(server.url),
    )
    async with client, streamable_http_client(server.url, http_client=client) as streams:
        yield streams[0], streams[1]


async def _bound(response: httpx.Response) -> None:
    if isinstance(response.stream, httpx.AsyncByteStream):
        response.stream = BoundedStream(response.stream)
