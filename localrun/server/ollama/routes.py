"""Routes under ``/api`` that generate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localrun.server.core.loads import SIGNS_HEADER, load_signs
from localrun.server.ollama.call import parse_call
from localrun.server.ollama.generation import complete, load_or_unload, render, stream
from localrun.server.parsing.requests import read, unless_disconnected
from localrun.server.routing.routes import Routes
from localrun.server.streaming import streamed

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from localrun.runner.messages import JsonObject
    from localrun.server.core.completions import Completions
    from localrun.server.core.tokens import TokenService
    from localrun.server.ollama.call import Call, Kind
    from localrun.supervisor.pool import RunnerPool


def generation_routes(completions: Completions, tokens: TokenService, pool: RunnerPool) -> Routes:
    """Return the router."""
    generation = _GenerationRoutes(completions, tokens, pool)
    router = Routes("/api")

    @router.post("/chat")
    async def chat(request: Request) -> Response:
        return await generation.respond(request, "chat")

    @router.post("/generate")
    async def generate(request: Request) -> Response:
        return await generation.respond(request, "generate")

    return router


@dataclass(frozen=True, slots=True)
class _GenerationRoutes:
    """Handler of requests that generate."""

    completions: Completions
    tokens: TokenService
    pool: RunnerPool

    async def respond(self, request: Request, kind: Kind) -> Response:
        call = await read(request, lambda fields: parse_call(fields, kind))
        if call.is_empty or call.renders_only or not call.stream:
            return JSONResponse(await unless_disconnected(request, self._whole(call)))
        chunks = stream(call, self.completions)
        wants_progress = SIGNS_HEADER in request.headers
        progress = load_signs(self.pool, call.request.model) if wants_progress else None
        return await streamed(request, chunks, progress=progress)

    def _whole(self, call: Call) -> Coroutine[None, None, JsonObject]:
        if call.is_empty:
            return load_or_unload(call, self.completions)
        return render(call, self.tokens) if call.renders_only else complete(call, self.completions)
