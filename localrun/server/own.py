"""Routes under ``/api/localrun`` for localrun's own commands.

GET  /ps       all models that are loaded, loading or failing
POST /load     load a model, pin it if asked to, and report the progress: an object a line
POST /removed  models were removed from the store: unload them
POST /renamed  a model of the store has another name: rename the loaded one too
GET  /why      see `why.py`
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localrun.server.core.loads import load_signs
from localrun.server.framing import ndjson_line
from localrun.server.parsing.limits import LONGEST_NAME
from localrun.server.parsing.options import DRAFT, KEEP_ALIVE, MODEL, NUM_CTX
from localrun.server.parsing.requests import read
from localrun.server.parsing.table import Table, flag, strings
from localrun.server.routing.routes import Routes
from localrun.server.streaming import streamed
from localrun.supervisor.status import ModelState, RunningModel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.runner.messages import JsonObject
    from localrun.server.core.completions import Completions
    from localrun.server.core.loaded_names import LoadedNames
    from localrun.server.core.remotes import Remotes
    from localrun.server.parsing.table import Values
    from localrun.supervisor.pool import RunnerPool

MAX_NAMES = 1000  # of one `localrun rm`
_PIN = flag("pin")
_MODELS = strings("models", most=MAX_NAMES, longest=LONGEST_NAME)
_SOURCE, _TARGET = (replace(MODEL, name=name) for name in ("source", "target"))
LOAD = Table((MODEL, NUM_CTX, DRAFT, KEEP_ALIVE, _PIN))
REMOVED = Table((_MODELS,))
RENAMED = Table((_SOURCE, _TARGET))


def own_routes(
    completions: Completions, pool: RunnerPool, names: LoadedNames, remotes: Remotes
) -> Routes:
    """Return the router."""
    router = Routes("/api/localrun")

    @router.get("/ps")
    async def states() -> JSONResponse:
        await asyncio.to_thread(names.settle)
        models = [*pool.states(), *map(_answered_elsewhere, remotes.open_requests.items())]
        rows = [_row(model) for model in models]
        return JSONResponse({"models": rows, "waiting": pool.num_waiting})

    @router.post("/load")
    async def load(request: Request) -> Response:
        values = await read(request, LOAD.read)
        lines = _load(completions, values)
        signs = load_signs(pool, values[MODEL])
        return await streamed(request, lines, progress=signs)

    @router.post("/removed")
    async def removed(request: Request) -> JSONResponse:
        values = await read(request, REMOVED.read)
        return JSONResponse({"unloaded": await asyncio.to_thread(names.remove, values[_MODELS])})

    @router.post("/renamed")
    async def renamed(request: Request) -> JSONResponse:
        values = await read(request, RENAMED.read)
        source, target = values[_SOURCE], values[_TARGET]
        return JSONResponse({"renamed": await asyncio.to_thread(names.rename, source, target)})

    return router


async def _load(completions: Completions, values: Values) -> AsyncGenerator[bytes, None]:
    load_s = await completions.load(
        values[MODEL],
        num_ctx=values[NUM_CTX],
        keep_alive=values[KEEP_ALIVE],
        pins=values[_PIN] or False,
        draft=values[DRAFT] or None,
    )
    yield ndjson_line({"status": "ready", "load_s": load_s, "done": True})


def _answered_elsewhere(requests: tuple[str, int]) -> RunningModel:
    """Return the row of a remote model with open requests."""
    name, num_open = requests
    return RunningModel(
        name=name,
        digest="",
        size_bytes=0,
        size_gpu_bytes=0,
        num_ctx=0,
        num_open=num_open,
        until=None,
        state=ModelState.REMOTE,
    )


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
        "worker_bytes": model.worker_bytes,
        "memory": dict(model.memory),
        "shared_with": model.shared_with,
        "context": model.num_ctx,
        "context_note": plan.context_note if plan else "",
        "context_used": model.stats.num_used_cells,
        "context_allocated": model.stats.num_allocated_cells,
        "context_total": model.stats.num_cells,
        "context_lacks_memory": model.stats.lacks_memory,
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
