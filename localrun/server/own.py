"""The routes under ``/api/localrun``: what no other API has, for our own commands.

GET  /ps       all models that are loaded, wanted or failing
POST /load     load a model, maybe for good, and tell how far it is: an object a line
POST /removed  models were removed from the store: end what is loaded of them
POST /renamed  a model of the store has another name: carry what is loaded along
GET  /why      see `why.py`
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from localrun.server.core.loads import load_signs
from localrun.server.framing import ndjson_line
from localrun.server.parsing.limits import LONGEST_NAME, context_length, model_name
from localrun.server.parsing.options import keep_alive
from localrun.server.parsing.requests import read, same
from localrun.server.streaming import streamed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.server.core.completions import Completions
    from localrun.server.core.loaded_names import LoadedNames
    from localrun.server.parsing.fields import Fields, JsonObject
    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.status import RunningModel

MOST_NAMES = 1000  # that one command removes


def own_routes(completions: Completions, pool: RunnerPool, names: LoadedNames) -> APIRouter:
    """Return the router."""
    router = APIRouter(prefix="/api/localrun")

    @router.get("/ps")
    async def states() -> JSONResponse:
        await asyncio.to_thread(names.settle)
        rows = [_row(model) for model in pool.states()]
        return JSONResponse({"models": rows, "waiting": pool.num_waiting})

    @router.post("/load")
    async def load(request: Request) -> Response:
        fields = await read(request, same)
        lines = _load(completions, fields)
        signs = load_signs(pool, model_name(fields))
        return await streamed(request, lines, progress=signs)

    @router.post("/removed")
    async def removed(request: Request) -> JSONResponse:
        gone = await read(request, _removed)
        return JSONResponse({"unloaded": await asyncio.to_thread(names.remove, gone)})

    @router.post("/renamed")
    async def renamed(request: Request) -> JSONResponse:
        source, target = await read(request, _renamed)
        return JSONResponse({"renamed": await asyncio.to_thread(names.rename, source, target)})

    return router


def _removed(fields: Fields) -> tuple[str, ...]:
    return fields.strings("models", most=MOST_NAMES, longest=LONGEST_NAME)


def _renamed(fields: Fields) -> tuple[str, str]:
    return (
        fields.required_text("source", longest=LONGEST_NAME),
        fields.required_text("target", longest=LONGEST_NAME),
    )


async def _load(completions: Completions, fields: Fields) -> AsyncGenerator[bytes, None]:
    load_s = await completions.load(
        model_name(fields),
        num_ctx=context_length(fields),
        keep_alive=keep_alive(fields),
        pins=bool(fields.boolean("pin")),
    )
    yield ndjson_line({"status": "ready", "load_s": load_s, "done": True})


def _row(model: RunningModel) -> JsonObject:
    plan = model.planned.plan if model.planned else None
    stays = model.is_pinned or (model.until is None and not model.num_open)
    return {
        "name": model.name,
        "digest": model.digest,
        "state": model.state.value,
        "progress": round(model.progress, 3),
        "size_bytes": model.size_bytes,
        "size_gpu_bytes": model.size_gpu_bytes,
        "memory": dict(model.memory),
        "shared_with": model.shared_with,
        "context": model.num_ctx,
        "context_note": plan.context_note if plan else "",
        "context_used": model.stats.num_used_cells,
        "context_total": model.stats.num_cells,
        "parallel": model.num_parallel,
        "running": model.num_open - model.num_waiting,
        "waiting": model.num_waiting,
        "tokens_per_s": round(model.tokens_per_s, 1),
        "pinned": model.is_pinned,
        "until": model.until.isoformat() if model.until and not stays else None,
        "stays_for_ever": stays,
        "reason": model.reason or None,
        "retry_after_s": round(model.retry_after_s, 1) or None,
    }
