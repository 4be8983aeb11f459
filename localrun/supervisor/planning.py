"""How a model is loaded: the plan for its memory, and where every setting came from."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError
from localrun.hardware.device import Device, DeviceKind
from localrun.hardware.plan import PlanRequest, make_plan
from localrun.hardware.reading import shape_of
from localrun.runner.messages import Load
from localrun.supervisor.memory import available_bytes, total_bytes
from localrun.supervisor.sources import PLAIN_CACHE, LoadSetting, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.engine.params import LoadOptions
    from localrun.hardware.plan import LoadPlan
    from localrun.supervisor.model import RunnerModel

    Devices = Callable[[], Sequence[Device]]

RETRY_TIGHTNESS = 0.75  # of the memory that was counted on, when a load failed all the same
ATTIC_SHARE = 8  # of the memory that is left: so that others find some, too
MOST_ATTIC_BYTES = 2**30  # a long chat with a large model, ten with a small one
OUT_OF_MEMORY = re.compile(r"memory|alloc|buffer|SIGKILL|ErrorOutOfDevice", re.IGNORECASE)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLoad:
    """An order to a runner, and what stands behind it."""

    load: Load
    plan: LoadPlan | None  # None where the file does not tell enough
    settings: tuple[LoadSetting, ...]


def plan_load(
    model: RunnerModel, num_ctx: int | None, devices: Devices, *, tightness: float = 1.0
) -> PlannedLoad:
    """Return how to load a model for a request that asks for ``num_ctx``; blocks.

    Less than the free memory is counted on where ``tightness`` is below 1.
    """
    load = _order(model, num_ctx or model.num_ctx)
    plan = _plan(model, load, devices, tightness)
    if plan is not None:
        load = _with_plan(load, plan, devices)
    settings = settings_of(model, num_ctx, load, plan)
    if tightness < 1.0:
        settings = (*settings, _tightened(tightness))
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
    """Return what the options of a load mean for the plan; ``others`` are loaded as well."""
    kind = str(options.cache_type or PLAIN_CACHE)
    return PlanRequest(
        num_ctx=num_ctx,
        num_slots=num_slots,
        step_tokens=max(num_slots, options.step_tokens),
        cache_type=kind,
        has_flash_attention=options.flash_attention is not False,
        num_gpu_layers=num_gpu_layers,
        extra_bytes=sum(path.stat().st_size for path in others),
        stretching=options.stretching,
    )


def only_processor() -> list[Device]:
    """Return the processor alone, with the memory that is free now."""
    return [
        Device(
            backend="CPU",
            index=0,
            name="CPU",
            description="CPU",
            kind=DeviceKind.CPU,
            total_bytes=total_bytes(),
            free_bytes=available_bytes(),
        )
    ]


def smaller_load(
    model: RunnerModel,
    num_ctx: int | None,
    devices: Devices,
    failed: PlannedLoad,
    error: LocalrunError,
) -> PlannedLoad | None:
    """Return what to try once more after a load that failed for want of memory.

    None where it failed for something else, or where nothing smaller can be planned.
    """
    if OUT_OF_MEMORY.search(error.message) is None:
        return None
    smaller = plan_load(model, num_ctx, devices, tightness=RETRY_TIGHTNESS)
    if replace(smaller.load, attic_bytes=failed.load.attic_bytes) == failed.load:
        return None
    _log.warning("%s did not fit: %s; a smaller plan is tried", model.name, error.message)
    told = LoadSetting(name="retry", value="smaller", source="plan", reason=error.message)
    return replace(smaller, settings=(*smaller.settings, told))


def _order(model: RunnerModel, num_ctx: int | None) -> Load:
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
        shape = shape_of(model.shards)
        wish = plan_request(
            model.options,
            num_ctx=load.num_ctx,
            num_slots=load.num_parallel,
            num_gpu_layers=model.num_gpu_layers,
            others=[*(Path(path) for path, _ in model.adapters), *model.draft],
        )
    except (LocalrunError, OSError) as error:  # llama.cpp says it better when it loads
        _log.debug("no plan for %s: %s", model.name, error)
        return None
    return make_plan(shape, replace(wish, tightness=tightness), devices())


def _with_plan(load: Load, plan: LoadPlan, devices: Devices) -> Load:
    gpus = [device for device in devices() if device.is_gpu]
    counts = {
        gpu.name: count for gpu, count in zip(plan.split.gpus, plan.split.counts, strict=True)
    }
    options = load.options
    if any(counts.values()) and options.main_gpu is None:
        # llama.cpp takes buffers on every GPU that it is given, also for no layers
        gpus = [gpu for gpu in gpus if counts.get(gpu.name)]
        options = replace(options, devices=tuple(gpu.name for gpu in gpus))
    return replace(
        load,
        num_ctx=plan.num_ctx,
        num_cells=plan.setup.num_cells,
        num_gpu_layers=plan.split.num_gpu_layers if gpus else load.num_gpu_layers,
        tensor_split=tuple(float(counts.get(gpu.name, 0)) for gpu in gpus) if counts else (),
        num_host_experts=plan.split.num_host_experts,
        options=options,
        attic_bytes=_attic_bytes(plan),
    )


def _attic_bytes(plan: LoadPlan) -> int:
    """Return a part of what the plan leaves of the host's memory."""
    left = [it.device.free_bytes - it.total_bytes for it in plan.shares if not it.device.is_gpu]
    return max(0, min(MOST_ATTIC_BYTES, sum(left) // ATTIC_SHARE))


def _tightened(tightness: float) -> LoadSetting:
    return LoadSetting(
        name="memory counted on",
        value=f"{tightness:.0%}",
        source="plan",
        reason="of what is free: with more an earlier load of it ran out of memory",
    )
