"""Load plan of a model: the `Load` message for its runner, and the source of every setting.

Knows nothing of slots; a callable reports the devices' memory.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from localrun.engine.params import SplitMode
from localrun.errors import LocalrunError, NetworkError
from localrun.hardware.mtp import uses_mtp
from localrun.hardware.plan import PlanRequest, make_plan
from localrun.hardware.projector import projector_bytes
from localrun.hardware.reading import shape_of
from localrun.hardware.worker_plan import plan_with_workers
from localrun.load_rules import LoadRules
from localrun.runner.messages import Load
from localrun.supervisor.draft_choice import add_draft, recipe_draft
from localrun.supervisor.load_settings import (
    DEFAULT_CACHE_TYPE,
    LoadSetting,
    describe_load,
    draft_setting,
    fill_open_values,
    mtp_setting,
    tightness_setting,
    worker_settings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.engine.params import LoadOptions
    from localrun.hardware.device import Device
    from localrun.hardware.plan import LoadPlan
    from localrun.hardware.shape import ModelShape
    from localrun.supervisor.draft_choice import Drafts
    from localrun.supervisor.load_settings import OpenValues
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.worker_offers import WorkerOffer

    Devices = Callable[[], Sequence[Device]]
    Workers = Callable[[], Sequence[WorkerOffer]]

RETRY_TIGHTNESS = 0.75  # share of the free memory that is planned after a load that failed
HOST_CACHE_SHARE = 8  # divides the memory that the plan leaves, so that other programs get some
MAX_HOST_CACHE_BYTES = 2**30  # a long chat with a large model, ten with a small one
OUT_OF_MEMORY = re.compile(r"memory|alloc|buffer|SIGKILL|ErrorOutOfDevice", re.IGNORECASE)
CACHE_TYPE_PARAMETER = "kv_cache_type"  # in the error of a context that cannot be opened
DEFAULT_RULES = LoadRules()
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLoad:
    """A `Load` message for a runner, with its plan and the sources of its settings."""

    load: Load
    plan: LoadPlan | None  # None if the header lacks what a plan needs
    settings: tuple[LoadSetting, ...]
    cache_note: str = ""  # why the server's cache type is not used
    away: tuple[LocalrunError, ...] = ()  # of workers that were needed and cannot be used


class PlanWithOffers(NamedTuple):
    """A plan, and the offers of the workers; none if they were not asked."""

    plan: LoadPlan
    offers: tuple[WorkerOffer, ...]


def no_workers() -> Sequence[WorkerOffer]:
    """Return no offers."""
    return ()


def plan_load(  # noqa: PLR0913 - keywords, but for three
    model: RunnerModel,
    num_ctx: int | None,
    devices: Devices,
    *,
    tightness: float = 1.0,
    rules: LoadRules = DEFAULT_RULES,
    workers: Workers = no_workers,
    drafts: Drafts = recipe_draft,
) -> PlannedLoad:
    """Return how to load a model for a request with a context of ``num_ctx``; blocks.

    The plan uses the share ``tightness`` of the free memory. The server's ``rules`` apply to
    what neither the request nor the recipe sets. ``workers`` are asked if the model does not fit
    the devices. ``drafts`` chooses the draft model.
    """
    shape = _shape(model)
    values = fill_open_values(model, num_ctx, rules, shape)
    load = _unplanned_load(model, values, rules)
    request = _request(model, load, rules) if shape is not None else None
    plan: LoadPlan | None = None
    offers: tuple[WorkerOffer, ...] = ()
    draft = drafts(model)
    if tightness < 1.0 and draft.paths:
        draft = draft.refused("an earlier load ran out of memory")
    if shape is not None:
        load = replace(load, has_mtp=uses_mtp(shape, load.num_parallel))
    if shape is not None and request is not None:
        request = replace(request, tightness=tightness)
        plan, offers = plan_over_workers(shape, request, devices(), workers)
        draft, plan = add_draft(draft, shape, request, plan, devices())
        load = _with_plan(load, plan, devices)
    load = replace(
        load,
        draft_paths=tuple(map(str, draft.paths)),
        requires_draft=draft.source in {"request", "recipe"},
    )
    settings = (*describe_load(model, values, load, plan), *worker_settings(plan, offers))
    settings += draft_setting(draft)
    if shape is not None and (shape.num_mtp_layers or shape.unused_mtp):
        settings = (*settings, mtp_setting(shape, load))
    if tightness < 1.0:
        settings = (*settings, tightness_setting(tightness))
    for setting in settings:
        _log.debug("%s: %s = %s (%s)", model.name, setting.name, setting.value, setting.source)
    return PlannedLoad(
        load=load,
        plan=plan,
        settings=settings,
        cache_note=values.cache_note,
        away=tuple(offer.error for offer in offers if offer.error is not None),
    )


def refuse_without_workers(name: str, planned: PlannedLoad) -> None:
    """Refuse a load that does not fit while a worker cannot be used.

    Raises:
        NetworkError: names the worker.
    """
    if planned.plan is not None and not planned.plan.fits and planned.away:
        first = planned.away[0]
        raise NetworkError(f"{name} does not fit here, and {first.message}", hint=first.hint)


def plan_over_workers(
    shape: ModelShape, request: PlanRequest, devices: Sequence[Device], workers: Workers
) -> PlanWithOffers:
    """Return the plan of a load, and the offers of the workers if they were asked; blocks."""
    plan = make_plan(shape, request, devices)
    if plan.fits or request.num_gpu_layers == 0:
        return PlanWithOffers(plan, ())
    offers = tuple(workers())
    far_devices = [device for offer in offers for device in offer.devices]
    return PlanWithOffers(plan_with_workers(shape, request, devices, far_devices) or plan, offers)


def plan_request(  # noqa: PLR0913 - keywords only
    options: LoadOptions,
    *,
    num_ctx: int | None,
    num_slots: int,
    num_gpu_layers: int = -1,
    others: Sequence[Path] = (),
    projector: Path | None = None,
    other_bytes: int = 0,
    gpu_reserve_bytes: int = 0,
) -> PlanRequest:
    """Return the plan request for the options of a load.

    ``others`` are files loaded as well, ``other_bytes`` the memory of those that are elsewhere.
    """
    extra_bytes = other_bytes + sum(path.stat().st_size for path in others)
    if projector is not None:
        extra_bytes += projector_bytes(projector)
    return PlanRequest(
        num_ctx=num_ctx,
        num_slots=num_slots,
        step_tokens=max(num_slots, options.step_tokens),
        cache_type=str(options.cache_type or DEFAULT_CACHE_TYPE),
        has_flash_attention=options.flash_attention is not False,
        num_gpu_layers=num_gpu_layers,
        extra_bytes=extra_bytes,
        stretching=options.stretching,
        gpu_reserve_bytes=gpu_reserve_bytes,
    )


def smaller_load(  # noqa: PLR0913 - keywords, but for five
    model: RunnerModel,
    num_ctx: int | None,
    devices: Devices,
    failed: PlannedLoad,
    error: LocalrunError,
    *,
    rules: LoadRules = DEFAULT_RULES,
    workers: Workers = no_workers,
    drafts: Drafts = recipe_draft,
) -> PlannedLoad | None:
    """Return a smaller load for a second try after a load that ran out of memory.

    Return None if the load failed for another reason, or if no smaller plan exists.
    """
    if OUT_OF_MEMORY.search(error.message) is None:
        return None
    if CACHE_TYPE_PARAMETER in error.message:  # a type that the recipe names is kept
        rules = replace(rules, cache_type=None)
    smaller = plan_load(
        model,
        num_ctx,
        devices,
        tightness=RETRY_TIGHTNESS,
        rules=rules,
        workers=workers,
        drafts=drafts,
    )
    if replace(smaller.load, host_cache_bytes=failed.load.host_cache_bytes) == failed.load:
        return None
    _log.warning("%s did not fit: %s; trying a smaller plan", model.name, error.message)
    retry = LoadSetting(name="retry", value="smaller", source="plan", reason=error.message)
    return replace(smaller, settings=(*smaller.settings, retry))


def _shape(model: RunnerModel) -> ModelShape | None:
    try:
        return shape_of(model.shards, model.array_ends)
    except (LocalrunError, OSError) as error:  # llama.cpp's own error is better, in the load
        _log.debug("no plan for %s: %s", model.name, error)
        return None


def _unplanned_load(model: RunnerModel, values: OpenValues, rules: LoadRules) -> Load:
    return Load(
        model_paths=tuple(str(path) for path in model.shards),
        chat_template=model.chat_template,
        adapters=model.adapters,
        num_ctx=values.num_ctx,
        num_parallel=rules.num_parallel,
        num_threads=model.num_threads,
        num_gpu_layers=model.num_gpu_layers,
        options=values.options,
        reading_speed=rules.reading_speed,
        projector_path=str(model.projector) if model.projector else None,
        media_cache_bytes=rules.media_cache_bytes,
        ffmpeg=rules.ffmpeg,
    )


def _request(model: RunnerModel, load: Load, rules: LoadRules) -> PlanRequest | None:
    """Return the plan request of a load, None if one of its files is missing."""
    try:
        return plan_request(
            load.options,
            num_ctx=load.num_ctx,
            num_slots=load.num_parallel,
            num_gpu_layers=model.num_gpu_layers,
            others=[Path(path) for path, _ in model.adapters],
            projector=model.projector,
            gpu_reserve_bytes=rules.gpu_reserve_bytes,
        )
    except OSError as error:
        _log.debug("no plan for %s: %s", model.name, error)
        return None


def _with_plan(load: Load, plan: LoadPlan, devices: Devices) -> Load:
    if plan.split.workers:
        return _over_workers(load, plan)
    gpus = [device for device in devices() if device.is_gpu]
    num_layers = {
        gpu.name: count for gpu, count in zip(plan.split.gpus, plan.split.counts, strict=True)
    }
    options = load.options
    if any(num_layers.values()) and options.main_gpu is None:
        # llama.cpp takes buffers on every GPU that it is given, also for no layers
        gpus = [gpu for gpu in gpus if num_layers.get(gpu.name)]
        options = replace(options, devices=tuple(gpu.name for gpu in gpus))
    elif not gpus:
        options = replace(options, devices=())  # no backend of a GPU is loaded, nor its drivers
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


def _over_workers(load: Load, plan: LoadPlan) -> Load:
    """Return a load whose layers are divided over workers; each gets its own, and nothing else."""
    split = plan.split
    names = tuple(gpu.name for gpu in split.gpus)
    counts = list(map(float, split.counts))
    counts[-1] += split.keeps_output  # llama.cpp counts the output, and then finds its override
    options = replace(
        load.options,
        devices=names,
        split_mode=SplitMode.LAYER,
        main_gpu=None,
        use_mmap=False,  # the embeddings and the output may lie at both ends of the file
    )
    return replace(
        load,
        num_ctx=plan.num_ctx,
        num_cells=plan.setup.num_cells,
        num_gpu_layers=split.num_gpu_layers + split.keeps_output,
        tensor_split=tuple(counts),
        options=options,
        host_cache_bytes=_host_cache_bytes(plan),
        workers=split.workers,
        keeps_output=split.keeps_output,
        has_mtp=False,  # its context would be over the workers as well
    )


def _host_cache_bytes(plan: LoadPlan) -> int:
    """Return the size of the host prefix cache: a part of the memory that the plan leaves."""
    left_bytes = sum(
        share.device.free_bytes - share.total_bytes
        for share in plan.shares
        if not share.device.is_gpu
    )
    return max(0, min(MAX_HOST_CACHE_BYTES, left_bytes // HOST_CACHE_SHARE))
