"""``/api/localrun/why``: why a loaded model is set up as it is."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from localrun.errors import ModelNotFoundError
from localrun.services.plan_json import plan_to_json

if TYPE_CHECKING:
    from localrun.server.catalogue import Catalogue
    from localrun.server.fields import JsonObject
    from localrun.supervisor.model import RunningModel
    from localrun.supervisor.pool import RunnerPool


def why_routes(catalogue: Catalogue, pool: RunnerPool) -> APIRouter:
    """Return the router."""
    router = APIRouter(prefix="/api/localrun")

    @router.get("/why")
    async def why(model: str) -> JSONResponse:
        stored = await asyncio.to_thread(catalogue.find_model, model)
        found = next((one for one in pool.running() if one.name == stored.name), None)
        if found is None:
            raise ModelNotFoundError(
                f"{stored.name} is not loaded",
                hint=f"localrun plan {model}   tells what would be done",
            )
        return JSONResponse(_explained(found))

    return router


def _explained(model: RunningModel) -> JsonObject:
    planned = model.planned
    return {
        "name": model.name,
        "context": model.num_ctx,
        "memory": dict(model.memory),
        "settings": [asdict(setting) for setting in planned.settings] if planned else [],
        "plan": plan_to_json(planned.plan) if planned and planned.plan else None,
    }
