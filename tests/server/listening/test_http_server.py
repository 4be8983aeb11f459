from __future__ import annotations

import asyncio
import socket
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import uvicorn

from localrun.server.listening.http_server import HttpServer
from localrun.server.middleware.timeouts import TimeoutProtocol
from tests.fakes.virtual_loop import VirtualLoop, run_virtually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest
    from starlette.types import Receive, Scope, Send

    Act = Callable[[int], Awaitable[None]]

HOUR_S = 3600.0
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hi"})


async def serve_during(act: Act) -> None:
    """Serve the application until the act has ended."""
    shutdown = asyncio.Event()
    config = uvicorn.Config(app, http=TimeoutProtocol, lifespan="off", log_config=None)
    server = HttpServer(config, shutdown)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0)
        await act(port)
        shutdown.set()
        await serving


async def get(port: int, *, closes: bool = True) -> bytes:
    """Return the response to a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + (b"Connection: close\r\n\r\n" if closes else b"\r\n"))
    response = await (reader.read() if closes else reader.readuntil(b"0\r\n\r\n"))
    if not closes:
        response += await reader.read()
    writer.close()
    await writer.wait_closed()
    return response


def test_a_server_without_requests_is_not_woken() -> None:
    counts: list[int] = []

    async def main(loop: VirtualLoop) -> None:
        async def act(port: int) -> None:
            await get(port)
            before = loop.num_wakeups
            await asyncio.sleep(HOUR_S)
            counts.append(loop.num_wakeups - before)

        await serve_during(act)

    run_virtually(main)

    assert counts == [1]  # the end of the hour


def test_a_connection_that_is_kept_alive_is_closed_in_the_end() -> None:
    responses: list[bytes] = []

    async def main(_: VirtualLoop) -> None:
        async def act(port: int) -> None:
            responses.append(await get(port, closes=False))

        await serve_during(act)

    run_virtually(main)

    assert responses[0].startswith(b"HTTP/1.1 200")


def test_a_response_has_the_date_on_which_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    responses: list[bytes] = []
    now = 1e9

    async def main(_: VirtualLoop) -> None:
        async def act(port: int) -> None:
            nonlocal now
            for _ in range(3):
                responses.append(await get(port))
                now += 0.6

        await serve_during(act)

    monkeypatch.setattr(time, "time", lambda: now)
    run_virtually(main)

    dates = [header(response, b"date") for response in responses]
    assert [parsedate_to_datetime(date).timestamp() for date in dates] == [1e9, 1e9, 1e9 + 1]


def header(response: bytes, name: bytes) -> str:
    lines = response.partition(b"\r\n\r\n")[0].splitlines()
    (value,) = [line.split(b": ", 1)[1] for line in lines if line.lower().startswith(name + b":")]
    return value.decode()
