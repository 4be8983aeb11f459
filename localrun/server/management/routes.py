"""Routes under ``/api/localrun`` that describe models and machine, for pages and programs.

GET  /parameters   the parameters of requests to a model, with the source of each value
POST /presence     somebody uses a page: a background server does not leave as idle
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from localrun.server.management.parameters import describe_parameters
from localrun.server.routing.routes import Routes

if TYPE_CHECKING:
    from localrun.server.core.loaded_names import Catalogue


def management_routes(catalogue: Catalogue) -> Routes:
    """Return the router."""
    router = Routes("/api/localrun")

    @router.get("/parameters")
    async def parameters(model: str) -> JSONResponse:
        found = await asyncio.to_thread(catalogue.find_model, model)
        return JSONResponse(await asyncio.to_thread(describe_parameters, found))

    @router.post("/presence")
    async def presence() -> JSONResponse:
        return JSONResponse({"status": "success"})

    return router
