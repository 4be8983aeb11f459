"""Routes under ``/api/localrun`` that describe models and machine, for pages and programs.

GET  /parameters   the parameters of requests to a model, with the source of each value
GET  /plan         the memory that a model needs, and whether it fits
GET  /search       models of the hubs
POST /lint         the problems of a recipe
GET  /doctor       the health checks of `localrun doctor`
GET  /machine      memory by device and by loaded model
GET  /log          the last lines of the server's log
POST /presence     somebody uses a page: a background server does not leave as idle

Plans, searches and checks run in child processes: see ``services/inspection.py``. Only this
machine's own programs and pages, or an API key, get log, machine and health checks.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localrun.errors import LocalrunError
from localrun.server.chats.fields import whole_number
from localrun.server.chats.privacy import refuse_others
from localrun.server.log_file import recent_lines
from localrun.server.management.machine import describe_machine
from localrun.server.management.parameters import describe_parameters
from localrun.server.parsing.limits import LONGEST_CONTEXT, LONGEST_MODELFILE, LONGEST_NAME
from localrun.server.parsing.requests import read, unless_disconnected
from localrun.server.parsing.table import Table, required_text
from localrun.server.routing.routes import Routes

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.core.loaded_names import Catalogue
    from localrun.server.jobs import Jobs
    from localrun.supervisor.pool import RunnerPool

MAX_HITS = 50
CLIENT_LEFT = 499
_MODELFILE = required_text("modelfile", longest=LONGEST_MODELFILE)
LINT = Table((_MODELFILE,))


def management_routes(catalogue: Catalogue, pool: RunnerPool, jobs: Jobs) -> Routes:
    """Return the router."""
    router = Routes("/api/localrun")
    _declare_models(router, catalogue, jobs)
    _declare_machine(router, pool, jobs)
    return router


def _declare_models(router: Routes, catalogue: Catalogue, jobs: Jobs) -> None:
    @router.get("/parameters")
    async def parameters(model: str) -> JSONResponse:
        found = await asyncio.to_thread(catalogue.find_model, model)
        return JSONResponse(await asyncio.to_thread(describe_parameters, found))

    @router.get("/plan")
    async def plan(request: Request, model: str, ctx: str = "") -> Response:
        num_ctx = whole_number(ctx, "ctx", 1, LONGEST_CONTEXT) if ctx else None
        order: JsonObject = {"kind": "plan", "name": model[:LONGEST_NAME], "ctx": num_ctx}
        return await _inspected(request, jobs, order)

    @router.get("/search")
    async def search(request: Request, text: str, limit: str = "20") -> Response:
        num_hits = whole_number(limit, "limit", 1, MAX_HITS)
        order: JsonObject = {"kind": "search", "text": text[:LONGEST_NAME], "limit": num_hits}
        return await _inspected(request, jobs, order)

    @router.post("/lint")
    async def lint(request: Request) -> Response:
        modelfile = (await read(request, LINT.read))[_MODELFILE]
        return await _inspected(request, jobs, {"kind": "lint", "modelfile": modelfile})


def _declare_machine(router: Routes, pool: RunnerPool, jobs: Jobs) -> None:
    @router.get("/doctor")
    async def doctor(request: Request) -> Response:
        refuse_others(request.scope)
        return await _inspected(request, jobs, {"kind": "doctor"})

    @router.get("/machine")
    async def machine(request: Request) -> JSONResponse:
        refuse_others(request.scope)
        return JSONResponse(await asyncio.to_thread(describe_machine, pool))

    @router.get("/log")
    async def log(request: Request) -> JSONResponse:
        refuse_others(request.scope)
        return JSONResponse({"lines": recent_lines()})

    @router.post("/presence")
    async def presence() -> JSONResponse:
        return JSONResponse({"status": "success"})


async def _inspected(request: Request, jobs: Jobs, order: JsonObject) -> Response:
    """Return the response with the result of a job, which ends if the client leaves."""
    result = await unless_disconnected(request, _result(jobs, order))
    return Response(status_code=CLIENT_LEFT) if result is None else JSONResponse(result)


async def _result(jobs: Jobs, order: JsonObject) -> JsonObject:
    async with contextlib.aclosing(jobs.run(order)) as messages:
        async for message in messages:
            if "result" in message:
                result: JsonObject = message["result"]
                return result
    raise LocalrunError("the job ended without a result, see the server's log")
