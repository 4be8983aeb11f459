"""Routes under ``/v1/messages``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localrun.server.anthropic.messages import complete, count_tokens, stream
from localrun.server.anthropic.request import parse_call, parse_count
from localrun.server.parsing.requests import read, unless_disconnected
from localrun.server.routing.routes import Routes
from localrun.server.streaming import streamed

if TYPE_CHECKING:
    from localrun.server.core.completions import Completions
    from localrun.server.core.tokens import TokenService


def anthropic_routes(completions: Completions, tokens: TokenService) -> Routes:
    """Return the router of Anthropic's API."""
    router = Routes("/v1/messages")

    @router.post("")
    async def messages(request: Request) -> Response:
        call = await read(request, parse_call)
        if call.stream:
            return await streamed(request, stream(call, completions))
        return JSONResponse(await unless_disconnected(request, complete(call, completions)))

    @router.post("/count_tokens")
    async def count(request: Request) -> JSONResponse:
        work = count_tokens(await read(request, parse_count), tokens)
        return JSONResponse(await unless_disconnected(request, work))

    return router
