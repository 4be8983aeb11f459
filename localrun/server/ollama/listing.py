"""Routes of Ollama's API that list models: the stored ones, the loaded ones."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from localrun.server.model_bodies import ModelListBody
from localrun.server.routing.routes import Routes

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.core.loaded_names import Catalogue, LoadedNames
    from localrun.server.core.remotes import Remotes
    from localrun.services.stored_model import ModelSummary
    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.status import RunningModel

NEVER = "2318-01-01T00:00:00Z"  # about what Ollama reports


def tag_routes(catalogue: Catalogue) -> Routes:
    """Return the routes of the stored models."""
    router = Routes("/api")
    all_models = ModelListBody(b'{"models":[', _stored, b"]}")

    @router.head("/tags")
    @router.get("/tags")
    async def tags() -> Response:
        return await asyncio.to_thread(lambda: all_models.response(catalogue.list_models()))

    return router


def running_routes(
    catalogue: Catalogue, pool: RunnerPool, names: LoadedNames, remotes: Remotes
) -> Routes:
    """Return the routes of the loaded models, and of remote ones with open requests."""
    router = Routes("/api")

    @router.head("/ps")
    @router.get("/ps")
    async def running() -> JSONResponse:
        await asyncio.to_thread(names.settle)
        loaded, elsewhere = pool.running(), remotes.open_requests
        is_any = bool(loaded or elsewhere)
        models = await asyncio.to_thread(catalogue.list_models) if is_any else ()
        stored = {model.name: model for model in models}
        rows = [_running(model, stored.get(model.name)) for model in loaded]
        rows += [
            _answered_elsewhere(stored[name], num_open)
            for name, num_open in elsewhere.items()
            if name in stored
        ]
        return JSONResponse({"models": rows})

    return router


def model_details(model: ModelSummary) -> JsonObject:
    """Return the details that lists of models have for each model."""
    lengths = {
        "context_length": model.details.context_length,
        "embedding_length": model.details.embedding_length,
    }
    return {
        "parent_model": "",
        "format": model.details.format,
        "family": model.details.family,
        "families": [model.details.family],
        "parameter_size": model.details.parameter_size,
        "quantization_level": model.details.quantization_level,
        **{name: length for name, length in lengths.items() if length},
    }


def _stored(model: ModelSummary) -> JsonObject:
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": model.modified.isoformat(),
        "size": model.size_bytes,
        "digest": model.digest.removeprefix("sha256:"),
        "details": model_details(model),
        "capabilities": list(model.details.capabilities),
        **remote_fields(model),
    }


def remote_fields(model: ModelSummary) -> JsonObject:
    """Return the fields of a model that another engine answers; {} for a model with weights."""
    if model.remote is None:
        return {}
    return {"remote_host": model.remote.first.origin, "remote_model": model.remote.first.model}


def _running(model: RunningModel, stored: ModelSummary | None) -> JsonObject:
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size_bytes,
        "size_vram": model.size_gpu_bytes,
        "digest": model.digest.removeprefix("sha256:"),
        "details": model_details(stored) if stored else {},
        "expires_at": model.until.isoformat() if model.until else NEVER,
        "context_length": model.num_ctx,
        "num_open": model.num_open,
        "shared_with": model.shared_with,
        "stays_for_ever": model.until is None and not model.num_open,
    }


def _answered_elsewhere(model: ModelSummary, num_open: int) -> JsonObject:
    return {
        "name": model.name,
        "model": model.name,
        "size": 0,
        "size_vram": 0,
        "digest": model.digest.removeprefix("sha256:"),
        "details": model_details(model),
        "expires_at": NEVER,
        "context_length": model.details.context_length or 0,
        "num_open": num_open,
        "shared_with": None,
        "stays_for_ever": False,
        **remote_fields(model),
    }
