"""Transport of MCP over the stdin and stdout of a command: one JSON message a line.

Takes the place of the SDK's transport, which joins a long line in quadratic time and without a
bound. Invariant: when the context ends, no process of the command's tree runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCMessage
from pydantic import ValidationError

from localrun.agent.environment import server_environment
from localrun.agent.process_tree import MARK, ProcessTree, new_mark

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from localrun.agent.mcp_file import CommandServer

    Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
    Outgoing = MemoryObjectSendStream[SessionMessage]

LONGEST_LINE = 8 * 1024 * 1024  # bytes
STDERR_BYTES = 2000  # of its end, for the error if the server does not start
WATCH_S, POLL_S = 1.0, 0.02  # of the server's process: while it is used, while it ends
EXIT_TIMEOUT_S = 2.0  # after its stdin is closed


class CommandTransport:
    """A running server and the streams of its messages."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._errors = bytearray()

    @property
    def last_errors(self) -> str:
        """Return the last line that the server wrote on stderr, "" if there is none."""
        lines = self._errors.decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    async def receive(self, sink: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        """Pass the messages of the server on, until its stdout ends."""
        async with sink:
            while self._process.stdout is not None:
                try:
                    line = await self._process.stdout.readline()
                except ValueError:  # longer than the limit
                    return
                if not line:
                    return
                with contextlib.suppress(ValidationError):  # a line that is no message
                    message = JSONRPCMessage.model_validate_json(line)
                    await sink.send(SessionMessage(message))

    async def send(self, source: MemoryObjectReceiveStream[SessionMessage]) -> None:
        """Write the messages of the client, until there are no more."""
        with contextlib.suppress(ConnectionError):
            async with source:
                async for item in source:
                    if self._process.stdin is not None:
                        text = item.message.model_dump_json(by_alias=True, exclude_none=True)
                        self._process.stdin.write(text.encode() + b"\n")
                        await self._process.stdin.drain()

    async def read_errors(self) -> None:
        """Keep the end of stderr."""
        while self._process.stderr is not None and (
            data := await self._process.stderr.read(STDERR_BYTES)
        ):
            self._errors = (self._errors + data)[-STDERR_BYTES:]


@contextlib.asynccontextmanager
async def open_command(
    server: CommandServer, environ: Mapping[str, str]
) -> AsyncIterator[tuple[Incoming, Outgoing, CommandTransport]]:
    """Start a server; end it and its processes when the context ends.

    Raises:
        OSError: the command cannot be started.
    """
    mark = new_mark()
    process = await asyncio.create_subprocess_exec(
        *server.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=server_environment(environ, dict(server.environment)) | {MARK: mark},
        cwd=server.folder,
        start_new_session=os.name == "posix",
        limit=LONGEST_LINE,
    )
    transport = CommandTransport(process)
    to_session, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    receiving = asyncio.create_task(transport.receive(to_session))
    tasks = [
        receiving,
        asyncio.create_task(transport.send(from_session)),
        asyncio.create_task(transport.read_errors()),
        asyncio.create_task(_end_with(process, receiving)),
    ]
    try:
        yield incoming, outgoing, transport
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await _end(process)
        ProcessTree(process, mark).kill()
        await _wait_for_exit(process, EXIT_TIMEOUT_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stream in (to_session, incoming, outgoing, from_session):
            stream.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close the server's stdin and wait for its end, for a while."""
    if process.stdin is not None:
        process.stdin.close()
    await _wait_for_exit(process, EXIT_TIMEOUT_S)


async def _end_with(process: asyncio.subprocess.Process, receiving: asyncio.Task[None]) -> None:
    """End the messages when the server has ended, although a child of it has its stdout."""
    while process.returncode is None:  # noqa: ASYNC110 - there is no event of the exit alone
        await asyncio.sleep(WATCH_S)
    await asyncio.wait({receiving}, timeout=WATCH_S)  # for messages that are in the pipe
    receiving.cancel()


async def _wait_for_exit(process: asyncio.subprocess.Process, timeout_s: float) -> None:
    """Wait for the end of a process; `wait` of asyncio also waits for the end of its pipes."""
    for _ in range(round(timeout_s / POLL_S)):
        if process.returncode is not None:
            return
        await asyncio.sleep(POLL_S)
