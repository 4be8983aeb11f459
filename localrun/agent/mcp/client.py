"""Blocking client of all MCP servers of a chat: one thread with one event loop.

The thread belongs to the chat that opened the client. Invariant: after `close`, the thread and all
servers that it started have ended.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from localrun.agent.mcp.connection import Connection, reason_of
from localrun.agent.mcp.results import description_of, result_of, schema_of, unique_name
from localrun.agent.toolbox import AgentTool, Effect, ToolError, ToolResult

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from mcp import types

    from localrun.agent.mcp_file import CommandServer, UrlServer
    from localrun.agent.toolbox import Arguments, Cancellation

Outcome = TypeVar("Outcome")
POLL_S = 0.25  # until a cancelled call is noticed
CLOSE_TIMEOUT_S = 10.0
STOPPED = "The user stopped this call."


class McpClient:
    """Client of several servers; the methods may be called by one thread at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mcp", daemon=True)
        self._thread.start()
        self._connections: list[Connection] = []

    def connect(
        self,
        servers: Sequence[CommandServer | UrlServer],
        environ: Mapping[str, str],
        report: Callable[[str], None],
    ) -> list[AgentTool]:
        """Connect to servers at the same time; return the tools of those that answer.

        ``report`` gets a sentence for each server that does not answer and each tool that is left
        out. Blocks until the last server has answered or failed.
        """
        listed = self._wait(self._connect_all(servers, environ), threading.Event())
        tools: list[AgentTool] = []
        for connection, outcome in zip(self._connections, listed, strict=True):
            name = connection.server.name
            if isinstance(outcome, BaseException):
                report(f"MCP server '{name}' is not available: {reason_of(outcome)}")
                continue
            for tool in outcome:
                self._add(tools, connection, tool, report)
        return tools

    def close(self) -> None:
        """End all servers and the thread."""
        if self._loop.is_closed():
            return
        closing = asyncio.run_coroutine_threadsafe(self._close_all(), self._loop)
        concurrent.futures.wait([closing], CLOSE_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_TIMEOUT_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _add(
        self,
        tools: list[AgentTool],
        connection: Connection,
        tool: types.Tool,
        report: Callable[[str], None],
    ) -> None:
        schema = schema_of(tool)
        if schema is None:
            report(
                f"tool '{tool.name[:100]}' is left out: the schema of its arguments is too large"
            )
            return

        def execute(arguments: Arguments, cancel: Cancellation) -> ToolResult:
            call = connection.call(tool.name, dict(arguments))
            return result_of(self._wait(call, cancel))

        used = {each.name for each in tools}
        tools.append(
            AgentTool(
                name=unique_name(connection.server.name, tool.name, used),
                description=description_of(tool),
                parameters=schema,
                effect=Effect.FOREIGN,
                execute=execute,
                origin=connection.server.name,
            )
        )

    async def _connect_all(
        self, servers: Sequence[CommandServer | UrlServer], environ: Mapping[str, str]
    ) -> list[list[types.Tool] | BaseException]:
        self._connections = [Connection(server, environ) for server in servers]
        connecting = [connection.connect() for connection in self._connections]
        return await asyncio.gather(*connecting, return_exceptions=True)

    async def _close_all(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self._connections))

    def _wait(self, work: Coroutine[Any, Any, Outcome], cancel: Cancellation) -> Outcome:
        """Return the outcome of a coroutine on the loop; an early end cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            while not cancel.is_set():
                if concurrent.futures.wait([future], POLL_S).done:
                    return future.result()
        finally:
            future.cancel()
        raise ToolError(STOPPED)
