"""Load plan of a model: the `Load` message for its runner, and the source of every setting.

Sources are "request", "recipe", "default" (of localrun or the server) and "plan" (computed from
the model and the free memory). Knows nothing of slots; a callable reports the devices' memory.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError
from localrun.hardware.plan import PlanRequest, make_plan
from localrun.hardware.reading import shape_of
from localrun.runner.messages import Load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.engine.params import LoadOptions
    from localrun.hardware.device import Device
    from localrun.hardware.plan import LoadPlan
    from localrun.supervisor.model import RunnerModel

    Devices = Callable[[], Sequence[Device]]

RETRY_TIGHTNESS = 0.75  # share of the free memory that is planned after a load that failed
HOST_CACHE_SHARE = 8  # divides the memory that the plan leaves, so that other programs get some
MAX_HOST_CACHE_BYTES = 2**30  # a long chat with a large model, ten with a small one
OUT_OF_MEMORY = re.compile(r"memory|alloc|buffer|SIGKILL|ErrorOutOfDevice", re.IGNORECASE)
DEFAULT_CACHE_TYPE = "f16"
NO_PLAN = "the file does not tell enough for a plan"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSetting:
    """A setting of a load and its source."""

    name: str
    value: str
    source: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLoad:
    """A `Load` message for a runner, with its plan and the sources of its settings."""

    load: Load
    plan: LoadPlan | None  # None if the header lacks what a plan needs
    settings: tuple[LoadSetting, ...]


def plan_load(
    model: RunnerModel, num_ctx: int | None, devices: Devices, *, tightness: float = 1.0
) -> PlannedLoad:
    """Return how to load a model for a request with a context of ``num_ctx``; blocks.

    The plan uses the share ``tightness`` of the free memory.
    """
    load = _unplanned_load(model, num_ctx or model.num_ctx)
    plan = _plan(model, load, devices, tightness)
    if plan is not None:
        load = _with_plan(load, plan, devices)
    settings = _settings(model, num_ctx, load, plan)
    if tightness < 1.0:
        settings = (*settings, _tightness_setting(tightness))
    for setting in settings:
        _log.debug("%s: %s = %s (%s)", model.name, setting.name, setting.value, setting.source)
    return PlannedLoad(load=load, plan=plan, settings=settings)


def plan_request(
    options: LoadOptions,
    *,
    num_ctx: int | None,
    num_slots: int,
    num_gpu_layers: int = -1,
    others: Sequence[Path] = (),
) -> PlanRequest:
    """Return the plan request for the options of a load; ``others`` are files loaded as well."""
    return PlanRequest(
        num_ctx=num_ctx,
        num_slots=num_slots,
        step_tokens=max(num_slots, options.step_tokens),
        cache_type=str(options.cache_type or DEFAULT_CACHE_TYPE),
        has_flash_attention=options.flash_attention is not False,
        num_gpu_layers=num_gpu_layers,
        extra_bytes=sum(path.stat().st_size for path in others),
        stretching=options.stretching,
    )


def smaller_load(
    model: RunnerModel,
    num_ctx: int | None,
    devices: Devices,
    failed: PlannedLoad,
    error: LocalrunError,
) -> PlannedLoad | None:
    """Return a smaller load for a second try after a load that ran out of memory.

    Return None if the load failed for another reason, or if no smaller plan exists.
    """
    if OUT_OF_MEMORY.search(error.message) is None:
        return None
    smaller = plan_load(model, num_ctx, devices, tightness=RETRY_TIGHTNESS)
    if replace(smaller.load, host_cache_bytes=failed.load.host_cache_bytes) == failed.load:
        return None
    _log.warning("%s did not fit: %s; trying a smaller plan", model.name, error.message)
    retry = LoadSetting(name="retry", value="smaller", source="plan", reason=error.message)
    return replace(smaller, settings=(*smaller.settings, retry))


def _unplanned_load(model: RunnerModel, num_ctx: int | None) -> Load:
    return Load(
        model_paths=tuple(str(path) for path in model.shards),
        chat_template=model.chat_template,
        adapters=model.adapters,
        num_ctx=num_ctx,
        num_threads=model.num_threads,
        num_gpu_layers=model.num_gpu_layers,
        options=model.options,
        draft_paths=tuple(str(path) for path in model.draft),
    )


def _plan(model: RunnerModel, load: Load, devices: Devices, tightness: float) -> LoadPlan | None:
    try:
        shape = shape_of(model.shards, model.array_ends)
        request = plan_request(
            model.options,
            num_ctx=load.num_ctx,
            num_slots=load.num_parallel,
            num_gpu_layers=model.num_gpu_layers,
            others=[*(Path(path) for path, _ in model.adapters), *model.draft],
        )
    except (LocalrunError, OSError) as error:  # llama.cpp's own error is better, in the load
        _log.debug("no plan for %s: %s", model.name, error)
        return None
    return make_plan(shape, replace(request, tightness=tightness), devices())


def _with_plan(load: Load, plan: LoadPlan, devices: Devices) -> Load:
    gpus = [device for device in devices() if device.is_gpu]
    num_layers = {
        gpu.name: count for gpu, count in zip(plan.split.gpus, plan.split.counts, strict=True)
    }
    options = load.options
    if any(num_layers.values()) and options.main_gpu is None:
        # llama.cpp takes buffers on every GPU that it is given, also for no layers
        gpus = [gpu for gpu in gpus if num_layers.get(gpu.name)]
        options = replace(options, devices=tuple(gpu.name for gpu in gpus))
    split = tuple(float(num_layers.get(gpu.name, 0)) for gpu in gpus) if num_layers else ()
    return replace(
        load,
        num_ctx=plan.num_ctx,
        num_cells=plan.setup.num_cells,
        num_gpu_layers=plan.split.num_gpu_layers if gpus else load.num_gpu_layers,
        tensor_split=split,
        num_host_experts=plan.split.num_host_experts,
        options=options,
        host_cache_bytes=_host_cache_bytes(plan),
    )


def _host_cache_bytes(plan: LoadPlan) -> int:
    """Return the size of the host prefix cache: a part of the memory that the plan leaves."""
    left_bytes = sum(
        share.device.free_bytes - share.total_bytes
        for share in plan.shares
        if not share.device.is_gpu
    )
    return max(0, min(MAX_HOST_CACHE_BYTES, left_bytes // HOST_CACHE_SHARE))


def _settings(
    model: RunnerModel, num_ctx: int | None, load: Load, plan: LoadPlan | None
) -> tuple[LoadSetting, ...]:
    """Return the settings of a load for a request with a context of ``num_ctx``."""
    options, wanted_ctx = model.options, num_ctx or model.num_ctx
    ctx_source = "request" if num_ctx else "recipe"
    return (
        LoadSetting(
            name="context",
            value=str(load.num_ctx or "the runner's"),
            source=ctx_source if wanted_ctx else "plan",
            reason=_context_reason(wanted_ctx, plan),
        ),
        _device_setting(model, plan),
        LoadSetting(
            name="layers on GPU",
            value=str(load.num_gpu_layers) if plan is None else str(plan.split.num_gpu_layers),
            source="plan" if model.num_gpu_layers < 0 else "recipe",
            reason=plan.reason if plan else "",
        ),
        LoadSetting(name="parallel", value=str(load.num_parallel), source="default"),
        _recipe_setting("threads", model.num_threads, "as many as help"),
        _recipe_setting("cache type", options.cache_type, DEFAULT_CACHE_TYPE),
        _recipe_setting("flash attention", options.flash_attention, "where the device has it"),
        _recipe_setting("batch", options.num_batch, "512"),
        _recipe_setting("memory map", options.use_mmap, "yes"),
    )


def _context_reason(wanted_ctx: int | None, plan: LoadPlan | None) -> str:
    if plan is None:
        return NO_PLAN
    if wanted_ctx is None:
        return "as long as its share of the memory allows, up to the model's own"
    return plan.context_note


def _device_setting(model: RunnerModel, plan: LoadPlan | None) -> LoadSetting:
    """Return the devices of the load, with the reason for choosing them."""
    if plan is None:
        value = "the runner's"
        return LoadSetting(name="device", value=value, source="default", reason=NO_PLAN)
    gpus = plan.split.gpus
    if gpus:
        value = ", ".join(f"{gpu.label} ({gpu.description})" for gpu in gpus)
        return LoadSetting(name="device", value=value, source="default", reason=gpus[0].reason)
    if model.num_gpu_layers == 0:
        return LoadSetting(name="device", value="CPU", source="recipe", reason="num_gpu is 0")
    reason = plan.shares[-1].device.reason or plan.reason
    return LoadSetting(name="device", value="CPU", source="default", reason=reason)


def _recipe_setting(name: str, value: object, default: str) -> LoadSetting:
    if value is None:
        return LoadSetting(name=name, value=default, source="default")
    return LoadSetting(name=name, value=str(value), source="recipe")


def _tightness_setting(tightness: float) -> LoadSetting:
    return LoadSetting(
        name="memory counted on",
        value=f"{tightness:.0%}",
        source="plan",
        reason="of what is free: with more an earlier load of it ran out of memory",
    )
