"""Routes under ``/v1/models``, which clients of OpenAI's and of Anthropic's API share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localrun.server.anthropic.dialect import ANTHROPIC
from localrun.server.anthropic.models import model_info, model_page
from localrun.server.dialect import dialect_of
from localrun.server.model_bodies import ModelListBody
from localrun.server.routing.routes import Routes

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.core.loaded_names import Catalogue
    from localrun.services.stored_model import ModelSummary


def model_routes(catalogue: Catalogue) -> Routes:
    """Return the router."""
    router = Routes("/v1/models")
    openai_list = ModelListBody(b'{"object":"list","data":[', _openai_model, b"]}")

    @router.head("")
    @router.get("")
    async def list_models(request: Request) -> Response:
        if dialect_of(request.scope) is ANTHROPIC:
            models = await asyncio.to_thread(catalogue.list_models)
            return JSONResponse(model_page(models, request.query_params))
        return await asyncio.to_thread(lambda: openai_list.response(catalogue.list_models()))

    @router.head("/{name:path}")
    @router.get("/{name:path}")
    async def show_model(request: Request, name: str) -> JSONResponse:
        model = await asyncio.to_thread(catalogue.find_model, name)
        is_anthropic = dialect_of(request.scope) is ANTHROPIC
        return JSONResponse(model_info(model) if is_anthropic else _openai_model(model))

    return router


def _openai_model(model: ModelSummary) -> JsonObject:
    return {
        "id": model.name.removesuffix(":latest"),
        "object": "model",
        "created": int(model.modified.timestamp()),
        "owned_by": "localrun",
    }
