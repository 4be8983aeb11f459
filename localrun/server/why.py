"""``/api/localrun/why``: why a loaded model is set up as it is."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from localrun.errors import ModelNotFoundError
from localrun.names.adapters import is_same_name
from localrun.server.core.loaded_names import LoadedNames
from localrun.services.plan_json import plan_to_json
from localrun.supervisor.planning import LoadSetting
from localrun.supervisor.status import ModelState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.server.core.catalogue import Catalogue
    from localrun.server.parsing.fields import JsonObject
    from localrun.settings import Settings
    from localrun.supervisor.model import KeepAlive
    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.status import RunningModel

GIGABYTE = 1e9
UNLOADED = {ModelState.STARTING, ModelState.LOADING, ModelState.FAILED}


def why_routes(catalogue: Catalogue, pool: RunnerPool, settings: Settings) -> APIRouter:
    """Return the router."""
    names = LoadedNames(pool, catalogue)
    router = APIRouter(prefix="/api/localrun")

    @router.get("/why")
    async def why(model: str) -> JSONResponse:
        await asyncio.to_thread(names.settle)
        found = next((one for one in pool.states() if is_same_name(one.name, model)), None)
        if found is None or found.state in UNLOADED:
            stored = await asyncio.to_thread(catalogue.find_model, model)
            raise ModelNotFoundError(
                f"{stored.name} is not loaded{_standing(found)}",
                hint=f"localrun plan {model}   tells what would be done",
            )
        return JSONResponse(_explained(found, settings))

    return router


def _standing(model: RunningModel | None) -> str:
    if model is None:
        return ""
    return f": it failed: {model.reason}" if model.state is ModelState.FAILED else " yet"


def _explained(model: RunningModel, server: Settings) -> JsonObject:
    planned = model.planned
    return {
        "name": model.name,
        "context": model.num_ctx,
        "memory": dict(model.memory),
        "threads": model.num_threads,
        "settings": [asdict(setting) for setting in _settings(model, server)],
        "plan": plan_to_json(planned.plan) if planned and planned.plan else None,
    }


def _settings(model: RunningModel, server: Settings) -> Iterator[LoadSetting]:
    """Yield those of the load, with what the runner made of them, then those of the server."""
    for setting in model.planned.settings if model.planned else ():
        if setting.name == "threads" and model.num_threads:
            yield replace(setting, value=str(model.num_threads), reason=_threads_reason(setting))
        elif setting.name == "device" and setting.source == "default":
            yield replace(setting, source=server.source_of("LOCALRUN_DEVICE"))
        else:
            yield setting
    most = "all" if server.memory_bytes is None else f"{server.memory_bytes / GIGABYTE:g} GB"
    yield LoadSetting(name="memory", value=most, source=server.source_of("LOCALRUN_MEMORY"))
    yield _keep_alive(model, server)


def _threads_reason(setting: LoadSetting) -> str:
    if setting.source != "default":
        return ""
    return "as many as help a model of this size; fewer while other programs want them"


def _keep_alive(model: RunningModel, server: Settings) -> LoadSetting:
    if model.is_pinned:
        reason = f"it is pinned; localrun stop {model.name}   unloads it"
        return LoadSetting(name="keep alive", value="for ever", source="request", reason=reason)
    asked = model.keep_alive
    if asked is None or asked.source == "default":
        source = server.source_of("LOCALRUN_KEEP_ALIVE")
        return LoadSetting(
            name="keep alive", value=_told(asked, server.keep_alive_s), source=source
        )
    return LoadSetting(name="keep alive", value=_told(asked, None), source=asked.source)


def _told(asked: KeepAlive | None, default_s: float | None) -> str:
    seconds = default_s if asked is None else asked.seconds
    return "for ever" if seconds is None else f"{seconds:g} s"
