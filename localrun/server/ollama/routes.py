"""The routes under ``/api``."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from localrun import __version__
from localrun.server.loads import SIGNS_HEADER, load_signs
from localrun.server.ollama.call import parse_call
from localrun.server.ollama.generation import complete, load_or_unload, stream
from localrun.server.ollama.show import details
from localrun.server.requests import read, unless_disconnected
from localrun.server.streaming import streamed

if TYPE_CHECKING:
    from localrun.server.catalogue import Catalogue
    from localrun.server.core import Completions
    from localrun.server.fields import JsonObject
    from localrun.server.ollama.call import Kind
    from localrun.services.models import StoredModel
    from localrun.supervisor.model import RunningModel
    from localrun.supervisor.pool import RunnerPool

# clients refuse servers that say they are an Ollama older than 0.13.4
OLLAMA_VERSION = "0.13.5"
FOR_EVER = "2318-01-01T00:00:00Z"  # what Ollama says, about


def ollama_routes(
    completions: Completions, catalogue: Catalogue, pool: RunnerPool, device: str
) -> APIRouter:
    """Return the router of Ollama's API."""
    router = APIRouter(prefix="/api")

    @router.head("/version")
    @router.get("/version")
    async def version() -> JSONResponse:
        known = {"version": OLLAMA_VERSION, "localrun": __version__, "pid": os.getpid()}
        return JSONResponse(known | {"device": device})

    @router.head("/tags")
    @router.get("/tags")
    async def tags() -> JSONResponse:
        found = await asyncio.to_thread(catalogue.list_models)
        return JSONResponse({"models": [_stored(model) for model in found]})

    @router.head("/ps")
    @router.get("/ps")
    async def running() -> JSONResponse:
        stored = {m.name: m for m in await asyncio.to_thread(catalogue.list_models)}
        rows = [_running(model, stored.get(model.name)) for model in pool.running()]
        return JSONResponse({"models": rows})

    @router.post("/chat")
    async def chat(request: Request) -> Response:
        return await _answer(request, "chat", completions, pool)

    @router.post("/generate")
    async def generate(request: Request) -> Response:
        return await _answer(request, "generate", completions, pool)

    return router


async def _answer(
    request: Request, kind: Kind, completions: Completions, pool: RunnerPool
) -> Response:
    call = await read(request, lambda fields: parse_call(fields, kind))
    if call.is_empty:
        work = load_or_unload(call, completions)
        return JSONResponse(await unless_disconnected(request, work))
    if call.stream:
        chunks = stream(call, completions)
        sign = load_signs(pool, call.request.model) if SIGNS_HEADER in request.headers else None
        return await streamed(request, chunks, "application/x-ndjson", progress=sign)
    return JSONResponse(await unless_disconnected(request, complete(call, completions)))


def _stored(model: StoredModel) -> JsonObject:
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": model.modified.isoformat(),
        "size": model.size_bytes,
        "digest": model.digest.removeprefix("sha256:"),
        "details": details(model),
    }


def _running(model: RunningModel, stored: StoredModel | None) -> JsonObject:
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size_bytes,
        "size_vram": model.size_gpu_bytes,
        "digest": model.digest.removeprefix("sha256:"),
        "details": details(stored) if stored else {},
        "expires_at": model.until.isoformat() if model.until else FOR_EVER,
        "context_length": model.num_ctx,
        "num_open": model.num_open,
        "shared_with": model.shared_with,
        "stays_for_ever": model.until is None and not model.num_open,
    }
