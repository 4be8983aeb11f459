"""The routes under ``/api`` that look after the models here: show, copy, delete."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from localrun.names.parse import parse_name
from localrun.server.ollama.progress import model_name
from localrun.server.ollama.show import show_model
from localrun.server.requests import read_object
from localrun.services.naming import copy_model, remove_model

if TYPE_CHECKING:
    from localrun.services.workspace import Workspace
    from localrun.supervisor.pool import RunnerPool

CREATED = 201
MISSING = 404
_log = logging.getLogger(__name__)


def library_routes(workspace: Workspace, pool: RunnerPool) -> APIRouter:
    """Return the router."""
    router = APIRouter(prefix="/api")

    @router.post("/show")
    async def show(request: Request) -> JSONResponse:
        fields = await read_object(request)
        is_verbose = fields.boolean("verbose") or False
        name = model_name(fields)
        return JSONResponse(
            await asyncio.to_thread(show_model, workspace, name, is_verbose=is_verbose)
        )

    @router.post("/copy")
    async def copy(request: Request) -> Response:
        fields = await read_object(request)
        source = parse_name(fields.required_text("source"))
        target = parse_name(fields.required_text("destination"))
        await asyncio.to_thread(copy_model, workspace, source, target)
        return Response()

    @router.delete("/delete")
    async def delete(request: Request) -> Response:
        ref = parse_name(model_name(await read_object(request)))
        removed = await asyncio.to_thread(remove_model, workspace, ref)
        if removed.problem is not None:
            _log.warning("%s is gone, its bytes are not: %s", removed.name, removed.problem)
        await asyncio.to_thread(pool.unload, removed.name)
        return Response()

    return router
