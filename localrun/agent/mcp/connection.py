"""Connection to one MCP server: a session of the SDK that lives in one task of the event loop.

Invariants: a connection that has ended fails every call at once; a call that ends early is
cancelled at the server.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import anyio
from mcp import types
from mcp.client.session import ClientSession
from mcp.shared.exceptions import McpError

from localrun import __version__
from localrun.agent.mcp.command import CommandTransport, open_command
from localrun.agent.mcp.web import open_url
from localrun.agent.mcp_file import CommandServer
from localrun.agent.toolbox import ToolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from localrun.agent.mcp_file import UrlServer

MAX_TOOLS, MAX_PAGES = 128, 20
CONNECT_TIMEOUT_S = 60.0  # npx and uvx download at the first start
CALL_TIMEOUT_S = 300.0
LONGEST_REASON = 300  # characters


class Connection:
    """One server; all methods belong to the event loop."""

    def __init__(self, server: CommandServer | UrlServer, environ: Mapping[str, str]) -> None:
        self.server = server
        self._environ = environ
        self._session: ClientSession | None = None
        self._transport: CommandTransport | None = None
        self._leaves = asyncio.Event()
        self._has_ended = asyncio.Event()
        self._tools: asyncio.Future[list[types.Tool]] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live())

    async def connect(self) -> list[types.Tool]:
        """Return the tools of the server.

        Raises:
            ToolError: the server cannot be reached, or does not answer.
        """
        try:
            return await asyncio.wait_for(asyncio.shield(self._tools), CONNECT_TIMEOUT_S)
        except TimeoutError as error:
            self._leaves.set()
            self._task.cancel()
            raise ToolError(f"no answer in {CONNECT_TIMEOUT_S:.0f} s") from error

    async def call(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        """Call a tool.

        Raises:
            ToolError: the server reports an error, has ended, or does not answer in time.
        """
        session = self._session
        if session is None or self._has_ended.is_set():
            raise ToolError(f"The MCP server '{self.server.name}' has ended.")
        parameters = types.CallToolRequestParams(name=tool, arguments=arguments)
        request_id = session._request_id  # noqa: SLF001 - the SDK has no other way to cancel
        request = types.ClientRequest(types.CallToolRequest(params=parameters))
        # not session.call_tool: it matches results with patterns that the server wrote
        sent = asyncio.create_task(session.send_request(request, types.CallToolResult))
        ended = asyncio.create_task(self._has_ended.wait())
        try:
            await asyncio.wait({sent, ended}, timeout=CALL_TIMEOUT_S, return_when="FIRST_COMPLETED")
            return self._result_of(sent)
        finally:
            ended.cancel()
            if not sent.done():
                sent.cancel()
                await self._cancel(session, request_id)

    async def close(self) -> None:
        """End the connection, and the server if it was started here."""
        self._leaves.set()
        if not self._tools.done():
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _result_of(self, sent: asyncio.Task[types.CallToolResult]) -> types.CallToolResult:
        if not sent.done():
            if self._has_ended.is_set():
                raise ToolError(f"The MCP server '{self.server.name}' has ended.")
            raise ToolError(f"No answer in {CALL_TIMEOUT_S:.0f} s; the call was cancelled.")
        try:
            return sent.result()
        except (anyio.ClosedResourceError, anyio.BrokenResourceError) as error:
            raise ToolError(f"The MCP server '{self.server.name}' has ended.") from error
        except McpError as error:
            raise ToolError(f"The MCP server reports: {reason_of(error)}") from error
        except Exception as error:  # the SDK raises errors of pydantic, anyio and httpx
            raise ToolError(f"The MCP server failed: {reason_of(error)}") from error

    async def _cancel(self, session: ClientSession, request_id: int) -> None:
        parameters = types.CancelledNotificationParams(requestId=request_id)
        notice = types.ClientNotification(types.CancelledNotification(params=parameters))
        with contextlib.suppress(Exception):  # the server may have ended
            await asyncio.wait_for(session.send_notification(notice), 1.0)

    async def _live(self) -> None:
        try:
            async with self._open_session() as session:
                await session.initialize()
                tools = await _list_tools(session)
                self._session = session
                self._tools.set_result(tools)
                await self._leaves.wait()
        except BaseException as error:  # noqa: BLE001 - of the SDK's task groups, also cancelled
            if not self._tools.done():
                self._tools.set_exception(ToolError(self._failure(error)))
                self._tools.exception()  # retrieved: connect may have given up
        finally:
            self._has_ended.set()

    @contextlib.asynccontextmanager
    async def _open_session(self) -> AsyncIterator[ClientSession]:
        info = types.Implementation(name="localrun", version=__version__)
        if isinstance(self.server, CommandServer):
            async with open_command(self.server, self._environ) as (incoming, outgoing, transport):
                self._transport = transport
                async with ClientSession(incoming, outgoing, client_info=info) as session:
                    yield session
        else:
            async with (
                open_url(self.server) as (incoming, outgoing),
                ClientSession(incoming, outgoing, client_info=info) as session,
            ):
                yield session

    def _failure(self, error: BaseException) -> str:
        last = self._transport.last_errors if self._transport is not None else ""
        return last[:LONGEST_REASON] or reason_of(error)


def reason_of(error: BaseException) -> str:
    """Return the message of an error, or of the first in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror}"
    return (str(error) or type(error).__name__)[:LONGEST_REASON]


async def _list_tools(session: ClientSession) -> list[types.Tool]:
    tools: list[types.Tool] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        parameters = types.PaginatedRequestParams(cursor=cursor)
        page = await session.list_tools(params=parameters)
        tools += page.tools
        cursor = page.nextCursor
        if not cursor or len(tools) >= MAX_TOOLS:
            break
    return tools[:MAX_TOOLS]
