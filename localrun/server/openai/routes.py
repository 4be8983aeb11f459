"""Routes under ``/v1`` that complete prompts, and that tokenize."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localrun.server.openai.chat import complete, stream
from localrun.server.openai.chat_request import parse_chat
from localrun.server.openai.completion_request import parse_completion
from localrun.server.openai.completions import complete as complete_prompts
from localrun.server.openai.completions import stream as stream_completions
from localrun.server.openai.tokens import (
    parse_apply_template,
    parse_detokenize,
    parse_tokenize,
    prompt_response,
    text_response,
    token_response,
)
from localrun.server.parsing.requests import read, unless_disconnected
from localrun.server.routing.routes import Routes
from localrun.server.streaming import streamed

if TYPE_CHECKING:
    from localrun.server.core.completions import Completions
    from localrun.server.core.tokens import TokenService


def openai_routes(completions: Completions, tokens: TokenService) -> Routes:
    """Return the router of OpenAI's API."""
    router = Routes("/v1")

    @router.post("/chat/completions")
    async def chat(request: Request) -> Response:
        call = await read(request, parse_chat)
        if call.stream:
            return await streamed(request, stream(call, completions))
        return JSONResponse(await unless_disconnected(request, complete(call, completions)))

    @router.post("/completions")
    async def completion(request: Request) -> Response:
        call = await read(request, parse_completion)
        if call.streaming.is_wanted:
            return await streamed(request, stream_completions(call, completions))
        work = complete_prompts(call, completions)
        return JSONResponse(await unless_disconnected(request, work))

    _add_token_routes(router, tokens)
    return router


def _add_token_routes(router: Routes, tokens: TokenService) -> None:
    @router.post("/tokenize")
    async def tokenize(request: Request) -> Response:
        work = token_response(await read(request, parse_tokenize), tokens)
        return await unless_disconnected(request, work) or Response()  # the client has left

    @router.post("/detokenize")
    async def detokenize(request: Request) -> Response:
        work = text_response(await read(request, parse_detokenize), tokens)
        return await unless_disconnected(request, work) or Response()

    @router.post("/apply-template")
    async def apply_template(request: Request) -> Response:
        work = prompt_response(await read(request, parse_apply_template), tokens)
        return await unless_disconnected(request, work) or Response()
