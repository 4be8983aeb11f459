"""The routes under ``/api`` that look after the models here: show, copy, delete."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import Response

from localrun.names.parse import parse_name
from localrun.server.ollama.show import show_model
from localrun.server.parsing.limits import LONGEST_NAME, old_or_new_name
from localrun.server.parsing.requests import read, same
from localrun.server.vectors import large_json
from localrun.services.naming import copy_model, remove_model

if TYPE_CHECKING:
    from localrun.server.core.loaded_names import LoadedNames
    from localrun.services.workspace import Workspace

CREATED = 201
MISSING = 404
_log = logging.getLogger(__name__)


def library_routes(workspace: Workspace, names: LoadedNames) -> APIRouter:
    """Return the router."""
    router = APIRouter(prefix="/api")

    @router.post("/show")
    async def show(request: Request) -> Response:
        fields = await read(request, same)
        is_verbose = fields.boolean("verbose") or False
        name = old_or_new_name(fields)
        shown = await asyncio.to_thread(show_model, workspace, name, is_verbose=is_verbose)
        return await large_json(shown)

    @router.post("/copy")
    async def copy(request: Request) -> Response:
        fields = await read(request, same)
        source = parse_name(fields.required_text("source", longest=LONGEST_NAME))
        target = parse_name(fields.required_text("destination", longest=LONGEST_NAME))
        await asyncio.to_thread(copy_model, workspace, source, target)
        await asyncio.to_thread(names.settle)
        return Response()

    @router.delete("/delete")
    async def delete(request: Request) -> Response:
        ref = parse_name(old_or_new_name(await read(request, same)))
        removed = await asyncio.to_thread(remove_model, workspace, ref)
        if removed.problem is not None:
            _log.warning("%s is gone, its bytes are not: %s", removed.name, removed.problem)
        await asyncio.to_thread(names.remove, [removed.name])
        return Response()

    return router
