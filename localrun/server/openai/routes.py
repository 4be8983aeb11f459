"""The routes under ``/v1``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from localrun.server.fields import parse_object
from localrun.server.openai.chat import complete, parse_chat, stream
from localrun.server.streaming import ChunkResponse, unless_disconnected

if TYPE_CHECKING:
    from localrun.server.catalogue import Catalogue
    from localrun.server.core import Completions
    from localrun.server.fields import JsonObject
    from localrun.services.models import StoredModel


def openai_routes(completions: Completions, catalogue: Catalogue) -> APIRouter:
    """Return the router of OpenAI's API."""
    router = APIRouter(prefix="/v1")

    @router.get("/models")
    async def models() -> JSONResponse:
        found = await completions.in_thread(catalogue.list_models)
        return JSONResponse({"object": "list", "data": [_model(model) for model in found]})

    @router.get("/models/{name:path}")
    async def model(name: str) -> JSONResponse:
        return JSONResponse(_model(await completions.in_thread(catalogue.find_model, name)))

    @router.post("/chat/completions")
    async def chat(request: Request) -> Response:
        call = parse_chat(parse_object(await request.body()))
        if call.stream:
            await completions.in_thread(
                catalogue.find_model, call.request.model
            )  # 404 before the 200
            return ChunkResponse(stream(call, completions), "text/event-stream")
        answer = await unless_disconnected(request, complete(call, completions))
        return JSONResponse(answer)

    return router


def _model(model: StoredModel) -> JsonObject:
    return {
        "id": model.name.removesuffix(":latest"),
        "object": "model",
        "created": int(model.modified.timestamp()),
        "owned_by": "localrun",
    }
