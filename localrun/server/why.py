"""``/api/localrun/why``: the settings of a loaded model and the source of each."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from localrun.errors import LocalrunError, ModelNotFoundError
from localrun.load_rules import (
    CONTEXT_LENGTH,
    FLASH_ATTENTION,
    GPU_RESERVE,
    KV_CACHE_TYPE,
    LOAD_TIMEOUT,
    MAX_MODELS,
    MEDIA_CACHE,
    NUM_PARALLEL,
    READING_SPEED,
)
from localrun.names.adapters import is_same_name
from localrun.server.core.loaded_names import LoadedNames
from localrun.server.routing.routes import Routes
from localrun.services.machine.plan_json import plan_to_json
from localrun.services.quantizing.kept import kept_in, kept_text
from localrun.services.remotes.stored import refuse_remote
from localrun.supervisor.load_settings import LoadSetting
from localrun.supervisor.status import ModelState
from localrun.workers.command import WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localrun.runner.messages import JsonObject, Stats
    from localrun.server.core.loaded_names import Catalogue
    from localrun.settings import Settings
    from localrun.supervisor.model import KeepAlive
    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.status import RunningModel

GIGABYTE = 1e9
MEBIBYTE = 2**20
VARIABLES = {  # of settings that a load leaves to the server
    "context": CONTEXT_LENGTH,
    "device": "LOCALRUN_DEVICE",
    "parallel": NUM_PARALLEL,
    "worker": WORKERS,
    "cache type": KV_CACHE_TYPE,
    "flash attention": FLASH_ATTENTION,
    "draft model": "LOCALRUN_DRAFT",
}
UNLOADED = {ModelState.STARTING, ModelState.LOADING, ModelState.FAILED}


def why_routes(catalogue: Catalogue, pool: RunnerPool, settings: Settings) -> Routes:
    """Return the router."""
    names = LoadedNames(pool, catalogue)
    router = Routes("/api/localrun")

    @router.get("/why")
    async def why(model: str) -> JSONResponse:
        await asyncio.to_thread(names.settle)
        loaded = next((row for row in pool.states() if is_same_name(row.name, model)), None)
        if loaded is None or loaded.state in UNLOADED:
            stored = await asyncio.to_thread(catalogue.find_model, model)
            refuse_remote(stored, "it has no settings of a load")
            raise ModelNotFoundError(
                f"{stored.name} is not loaded{_failure(loaded)}",
                hint=f"localrun plan {model}   shows the settings of a load",
            )
        kept = await asyncio.to_thread(kept_settings, catalogue, loaded.name)
        return JSONResponse(_explanation(loaded, settings, kept))

    return router


def cells_setting(stats: Stats) -> LoadSetting:
    """Return the KV cache cells that may be used now, of those that the plan reserves."""
    reason = "a cell takes memory when it is used"
    if stats.lacks_memory:
        reason = "too little memory is free for more"
    elif stats.num_allocated_cells == stats.num_cells:
        reason = ""
    value = f"{stats.num_allocated_cells} of {stats.num_cells}"
    return LoadSetting(name="KV cache cells", value=value, source="plan", reason=reason)


def layout_setting(stats: Stats) -> LoadSetting:
    """Return where the KV cache cells of running sequences are."""
    value = "a stream for each sequence" if stats.uses_streams else "unified"
    if stats.is_transposed:
        value += ", values transposed"
    count = stats.num_layout_switches
    reason = f"changed {count} time{'s'[: count != 1]} to compute faster" if count else ""
    return LoadSetting(name="KV cache layout", value=value, source="default", reason=reason)


def drafts_setting(sources: Sequence[str]) -> LoadSetting:
    """Return where draft tokens come from."""
    reason = "used as far as they save time" if sources else "its memory cannot take tokens back"
    value = ", ".join(sources) or "none"
    return LoadSetting(name="draft tokens", value=value, source="default", reason=reason)


def kept_settings(catalogue: Catalogue, name: str) -> list[LoadSetting]:
    """Return a line for the tensors that the quantization kept; none if the model is gone."""
    try:
        kept = kept_in(catalogue.find_model(name))
    except (LocalrunError, OSError):
        return []
    return [
        LoadSetting(
            name="kept tensors", value=kept_text(each), source="quantization", reason=each.reason
        )
        for each in kept
    ]


def _failure(model: RunningModel | None) -> str:
    if model is None:
        return ""
    return f": it failed: {model.reason}" if model.state is ModelState.FAILED else " yet"


def _explanation(model: RunningModel, server: Settings, kept: Sequence[LoadSetting]) -> JsonObject:
    planned = model.planned
    return {
        "name": model.name,
        "context": model.num_ctx,
        "memory": dict(model.memory),
        "threads": model.num_threads,
        "settings": [asdict(setting) for setting in (*_settings(model, server), *kept)],
        "plan": plan_to_json(planned.plan) if planned and planned.plan else None,
    }


def _settings(model: RunningModel, server: Settings) -> Iterator[LoadSetting]:
    """Yield the settings of the load, with the runner's choices, then those of the server."""
    for setting in model.planned.settings if model.planned else ():
        if setting.name == "threads" and model.num_threads:
            yield replace(setting, value=str(model.num_threads), reason=_threads_reason(setting))
        elif setting.source == "default" and setting.name in VARIABLES:
            yield replace(setting, source=server.source_of(VARIABLES[setting.name]))
        else:
            yield setting
    if model.cpu_variant:
        yield _cpu_variant(model.cpu_variant, server)
    if model.stats.num_cells:
        yield cells_setting(model.stats)
        yield layout_setting(model.stats)
    yield drafts_setting(model.draft_sources)
    most = "all" if server.memory_bytes is None else f"{server.memory_bytes / GIGABYTE:g} GB"
    yield LoadSetting(name="memory", value=most, source=server.source_of("LOCALRUN_MEMORY"))
    yield from _rules(server)
    yield _keep_alive(model, server)


def _cpu_variant(variant: str, server: Settings) -> LoadSetting:
    """Return the variant of llama.cpp's backend for the CPU, in builds that have several."""
    source = server.source_of("LOCALRUN_CPU_VARIANT")
    reason = "the best that the processor can run" if source == "default" else ""
    return LoadSetting(name="CPU variant", value=variant, source=source, reason=reason)


def _rules(server: Settings) -> Iterator[LoadSetting]:
    """Yield the server's rules of all loads."""
    rules = server.loads
    reserve = f"{rules.gpu_reserve_bytes / GIGABYTE:g} GB" if rules.gpu_reserve_bytes else "none"
    values = (
        ("GPU reserve", reserve, GPU_RESERVE),
        (
            "models at once",
            "all that fit" if rules.max_models is None else str(rules.max_models),
            MAX_MODELS,
        ),
        ("load timeout", _seconds(rules.timeout_s), LOAD_TIMEOUT),
        ("reading speed", f"{rules.reading_speed} tokens/s", READING_SPEED),
        ("media cache", f"{rules.media_cache_bytes / MEBIBYTE:g} MiB", MEDIA_CACHE),
        ("debug", str(server.debug), "LOCALRUN_DEBUG"),
    )
    for name, value, variable in values:
        yield LoadSetting(name=name, value=value, source=server.source_of(variable))


def _threads_reason(setting: LoadSetting) -> str:
    if setting.source != "default":
        return ""
    return "chosen by the size of the model; fewer while other programs use the CPU"


def _keep_alive(model: RunningModel, server: Settings) -> LoadSetting:
    if model.is_pinned:
        reason = f"it is pinned; localrun stop {model.name}   unloads it"
        return LoadSetting(name="keep alive", value="for ever", source="request", reason=reason)
    keep_alive = model.keep_alive
    if keep_alive is None or keep_alive.source == "default":
        source = server.source_of("LOCALRUN_KEEP_ALIVE")
        return LoadSetting(
            name="keep alive", value=_duration(keep_alive, server.keep_alive_s), source=source
        )
    return LoadSetting(
        name="keep alive", value=_duration(keep_alive, None), source=keep_alive.source
    )


def _duration(keep_alive: KeepAlive | None, default_s: float | None) -> str:
    return _seconds(default_s if keep_alive is None else keep_alive.seconds)


def _seconds(seconds: float | None) -> str:
    return "for ever" if seconds is None else f"{seconds:g} s"
