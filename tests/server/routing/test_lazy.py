from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response

from localrun.server.routing.lazy import LazyRoutes
from localrun.server.routing.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Scope


def routes() -> Routes:
    router = Routes("/a")

    @router.get("/b")
    async def b() -> Response:
        return PlainTextResponse("answer")

    return router


async def status_of(app: Starlette, path: str, method: str = "GET") -> int:
    scope: Scope = {
        "type": "http", "method": method, "path": path, "headers": [], "query_string": b"",
    }  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    status: int = sent[0]["status"]
    return status


def app_of(load: Callable[[], Routes]) -> Starlette:
    return Starlette(routes=[LazyRoutes(("/a",), load, asyncio.Lock())])


def test_the_first_requests_share_one_import() -> None:
    loads = []

    def load() -> Routes:
        loads.append(True)
        return routes()

    async def several() -> list[int]:
        app = app_of(load)
        assert await status_of(app, "/elsewhere") == 404
        assert loads == []
        return await asyncio.gather(*(status_of(app, "/a/b") for _ in range(9)))

    assert asyncio.run(several()) == [200] * 9
    assert loads == [True]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/a/b", 200),
        ("HEAD", "/a/b", 405),  # it is not declared
        ("POST", "/a/b", 405),
        ("GET", "/a", 404),
        ("GET", "/a/bc", 404),
        ("GET", "/ab", 404),
    ],
)
def test_the_routes_decide_about_the_method_and_the_rest_of_the_path(
    method: str, path: str, expected: int
) -> None:
    assert asyncio.run(status_of(app_of(routes), path, method)) == expected


def test_an_import_that_fails_is_tried_again() -> None:
    results = [OSError("no file descriptors"), None]

    def load() -> Routes:
        error = results.pop(0)
        if error is not None:
            raise error
        return routes()

    async def twice() -> int:
        app = app_of(load)
        with pytest.raises(OSError, match="descriptors"):
            await status_of(app, "/a/b")
        return await status_of(app, "/a/b")

    assert asyncio.run(twice()) == 200
