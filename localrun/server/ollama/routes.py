"""Routes under ``/api`` that generate or list models."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from localrun import __version__
from localrun.server.core.loaded_names import LoadedNames
from localrun.server.core.loads import SIGNS_HEADER, load_signs
from localrun.server.model_bodies import ModelListBody
from localrun.server.ollama.call import parse_call
from localrun.server.ollama.generation import complete, load_or_unload, render, stream
from localrun.server.ollama.show import details
from localrun.server.parsing.requests import read, unless_disconnected
from localrun.server.streaming import streamed

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from localrun.runner.messages import JsonObject
    from localrun.server.core.completions import Completions
    from localrun.server.core.loaded_names import Catalogue
    from localrun.server.core.tokens import TokenService
    from localrun.server.ollama.call import Call, Kind
    from localrun.services.stored_model import ModelSummary
    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.status import RunningModel

# version of the API; clients refuse older servers
OLLAMA_VERSION = "0.33.0"
NEVER = "2318-01-01T00:00:00Z"  # about what Ollama reports


def ollama_routes(
    completions: Completions,
    tokens: TokenService,
    catalogue: Catalogue,
    pool: RunnerPool,
    device: str,
) -> APIRouter:
    """Return the router of Ollama's API."""
    generation = _GenerationRoutes(completions, tokens, pool)
    router, names = APIRouter(prefix="/api"), LoadedNames(pool, catalogue)
    all_models = ModelListBody(b'{"models":[', _stored, b"]}")

    @router.head("/version")
    @router.get("/version")
    async def version() -> JSONResponse:
        body = {"version": OLLAMA_VERSION, "localrun": __version__, "pid": os.getpid()}
        return JSONResponse(body | {"device": device})

    @router.head("/tags")
    @router.get("/tags")
    async def tags() -> Response:
        return await asyncio.to_thread(lambda: all_models.response(catalogue.list_models()))

    @router.head("/ps")
    @router.get("/ps")
    async def running() -> JSONResponse:
        await asyncio.to_thread(names.settle)
        stored = {m.name: m for m in await asyncio.to_thread(catalogue.list_models)}
        rows = [_running(model, stored.get(model.name)) for model in pool.running()]
        return JSONResponse({"models": rows})

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


def _stored(model: ModelSummary) -> JsonObject:
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": model.modified.isoformat(),
        "size": model.size_bytes,
        "digest": model.digest.removeprefix("sha256:"),
        "details": details(model),
        "capabilities": list(model.details.capabilities),
    }


def _running(model: RunningModel, stored: ModelSummary | None) -> JsonObject:
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size_bytes,
        "size_vram": model.size_gpu_bytes,
        "digest": model.digest.removeprefix("sha256:"),
        "details": details(stored) if stored else {},
        "expires_at": model.until.isoformat() if model.until else NEVER,
        "context_length": model.num_ctx,
        "num_open": model.num_open,
        "shared_with": model.shared_with,
        "stays_for_ever": model.until is None and not model.num_open,
    }
