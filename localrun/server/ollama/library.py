"""Routes of Ollama's API that manage stored models: show, copy and delete."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from localrun.names.parse import parse_name
from localrun.server.ollama.fields import MODEL, MODEL_ROWS, NAMED_MODEL
from localrun.server.ollama.show import show_model
from localrun.server.parsing.options import MODEL as REQUIRED_NAME
from localrun.server.parsing.requests import read
from localrun.server.parsing.table import Table, flag
from localrun.server.routing.routes import Routes
from localrun.server.vectors import large_json
from localrun.services.naming import copy_model, remove_model

if TYPE_CHECKING:
    from localrun.server.core.loaded_names import LoadedNames
    from localrun.services.workspace import Workspace

_log = logging.getLogger(__name__)
_VERBOSE = flag("verbose")
_SOURCE, _DESTINATION = (replace(REQUIRED_NAME, name=name) for name in ("source", "destination"))
SHOW = Table((*MODEL_ROWS, _VERBOSE))
COPY = Table((_SOURCE, _DESTINATION))


def library_routes(workspace: Workspace, names: LoadedNames) -> Routes:
    """Return the router."""
    router = Routes("/api")

    @router.post("/show")
    async def show(request: Request) -> Response:
        values = await read(request, SHOW.read)
        is_verbose = values[_VERBOSE] or False
        shown = await asyncio.to_thread(show_model, workspace, values[MODEL], is_verbose=is_verbose)
        return await large_json(shown)

    @router.post("/copy")
    async def copy(request: Request) -> Response:
        values = await read(request, COPY.read)
        source, target = parse_name(values[_SOURCE]), parse_name(values[_DESTINATION])
        await asyncio.to_thread(copy_model, workspace, source, target)
        await asyncio.to_thread(names.settle)
        return Response()

    @router.delete("/delete")
    async def delete(request: Request) -> Response:
        ref = parse_name((await read(request, NAMED_MODEL.read))[MODEL])
        removed = await asyncio.to_thread(remove_model, workspace, ref)
        if removed.problem is not None:
            _log.warning("%s is gone, its bytes are not: %s", removed.name, removed.problem)
        await asyncio.to_thread(names.remove, [removed.name])
        return Response()

    return router
