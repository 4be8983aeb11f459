r"""``/api/localrun/render``: Markdown as blocks of HTML, for pages.

    {"texts": ["# Hi\n\nthere"]}
    {"results": [{"blocks": [{"line": 0, "html": "<h3 ...>"}, {"line": 2, "html": "<p ...>"}]}]}

Texts are rendered in one thread, one request after another, so that many requests take no more
than a part of one processor from the answers of the server.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from localrun.errors import OverloadedError
from localrun.server.parsing.requests import read, unless_disconnected
from localrun.server.parsing.table import Table, strings
from localrun.server.rendering.markdown import render_blocks
from localrun.server.routing.routes import Routes
from localrun.server.vectors import large_json

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.fields import Fields

MAX_TEXTS = 64
MAX_CHARACTERS = 256 * 1024  # of all texts of a request
MAX_WAITING = 32  # requests
CLIENT_LEFT = 499

_TEXTS = strings("texts", most=MAX_TEXTS, longest=MAX_CHARACTERS)
RENDER = Table((_TEXTS,))


def render_routes() -> Routes:
    """Return the router."""
    router = Routes("/api/localrun")
    renderer = _Renderer()

    @router.post("/render")
    async def render(request: Request) -> Response:
        texts = await read(request, _texts)
        results = await unless_disconnected(request, renderer.render(texts))
        if results is None:
            return Response(status_code=CLIENT_LEFT)
        return await large_json({"results": results})

    return router


def _texts(fields: Fields) -> list[str]:
    """Return the texts of a body.

    Raises:
        UsageError: they are no texts, or too long.
    """
    texts = RENDER.read(fields)[_TEXTS]
    if sum(map(len, texts)) > MAX_CHARACTERS:
        raise fields.wrong("texts", f"have more than {MAX_CHARACTERS} characters together")
    return [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]


class _Renderer:
    """The thread, and the requests that wait for it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="render")
        self._num_waiting = 0

    async def render(self, texts: list[str]) -> list[JsonObject]:
        """Return the blocks of each text.

        Raises:
            OverloadedError: too many requests wait.
        """
        if self._num_waiting >= MAX_WAITING:
            raise OverloadedError(f"{MAX_WAITING} texts wait to be rendered")
        loop = asyncio.get_running_loop()
        self._num_waiting += 1
        try:
            return [await loop.run_in_executor(self._thread, _result, text) for text in texts]
        finally:
            self._num_waiting -= 1


def _result(text: str) -> JsonObject:
    blocks = render_blocks(text)
    return {"blocks": [{"line": block.line, "html": block.html} for block in blocks]}
