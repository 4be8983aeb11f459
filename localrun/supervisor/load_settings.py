"""Settings of a load with their sources, as `why` reports them.

Sources are "request", "recipe", "default" (of localrun or the server) and "plan" (computed from
the model and the free memory).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from localrun.engine.params import CacheType, LoadOptions
from localrun.hardware.mtp import mtp_problem
from localrun.hardware.need import cache_type_problem
from localrun.load_rules import PLAIN_CACHE_TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.hardware.device import Device
    from localrun.hardware.plan import LoadPlan
    from localrun.hardware.shape import ModelShape
    from localrun.load_rules import LoadRules
    from localrun.runner.messages import Load
    from localrun.supervisor.draft_choice import DraftChoice
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.worker_offers import WorkerOffer

DEFAULT_CACHE_TYPE = "f16"
GIGABYTE = 1e9
NO_PLAN = "the file does not tell enough for a plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSetting:
    """A setting of a load and its source."""

    name: str
    value: str
    source: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenValues:
    """The values of a load after the server's defaults filled what was left open."""

    num_ctx: int | None
    num_ctx_source: str
    options: LoadOptions
    cache_note: str = ""  # why the server's cache type is not used


class FilledOptions(NamedTuple):
    """Options of a load, and why the server's cache type is not among them."""

    options: LoadOptions
    cache_note: str


def fill_open_values(
    model: RunnerModel, num_ctx: int | None, rules: LoadRules, shape: ModelShape | None
) -> OpenValues:
    """Return context and options of a load: of the request, the recipe, then the server."""
    options, note = fill_options(model.options, rules, shape)
    sources = ((num_ctx, "request"), (model.num_ctx, "recipe"), (rules.num_ctx, "default"))
    wanted, source = next((pair for pair in sources if pair[0]), (None, "plan"))
    return OpenValues(num_ctx=wanted, num_ctx_source=source, options=options, cache_note=note)


def fill_options(options: LoadOptions, rules: LoadRules, shape: ModelShape | None) -> FilledOptions:
    """Return options with the server's flash attention and cache type where they set none."""
    if options.flash_attention is None:
        options = replace(options, flash_attention=rules.flash_attention)
    if options.cache_type is not None or rules.cache_type is None:
        return FilledOptions(options, "")
    problem = _cache_type_problem(rules.cache_type, options, shape)
    if problem:
        return FilledOptions(options, problem)
    return FilledOptions(replace(options, cache_type=CacheType(rules.cache_type)), "")


def describe_load(
    model: RunnerModel, values: OpenValues, load: Load, plan: LoadPlan | None
) -> tuple[LoadSetting, ...]:
    """Return the settings of a load."""
    own, options = model.options, values.options
    return (
        LoadSetting(
            name="context",
            value=str(load.num_ctx or "the runner's"),
            source=values.num_ctx_source,
            reason=_context_reason(values, plan),
        ),
        _device_setting(model, plan),
        LoadSetting(
            name="layers on GPU",
            value=str(load.num_gpu_layers) if plan is None else str(plan.split.num_gpu_layers),
            source="plan" if model.num_gpu_layers < 0 else "recipe",
            reason=plan.reason if plan else "",
        ),
        LoadSetting(name="parallel", value=str(load.num_parallel), source="default"),
        _setting("threads", model.num_threads, None, "as many as help"),
        _cache_setting(model, values),
        _setting(
            "flash attention",
            own.flash_attention,
            options.flash_attention,
            "where the device has it",
        ),
        _setting("batch", own.num_batch, None, "512 to 2048, as fast as it is"),
        _setting("memory map", own.use_mmap, None, "yes"),
    )


def tightness_setting(tightness: float) -> LoadSetting:
    """Return the share of the free memory that a plan used because an earlier load failed."""
    return LoadSetting(
        name="memory counted on",
        value=f"{tightness:.0%}",
        source="plan",
        reason="of what is free: with more an earlier load of it ran out of memory",
    )


def worker_settings(plan: LoadPlan | None, offers: Sequence[WorkerOffer]) -> list[LoadSetting]:
    """Return the workers of a load with their layers, and those that cannot be used."""
    shares = [share for share in plan.shares if share.device.worker] if plan else []
    settings = [
        LoadSetting(
            name="worker",
            value=f"{share.device.name}: {share.num_layers} layers",
            source="default",
            reason=plan.reason if plan else "",
        )
        for share in shares
    ]
    return settings + [
        LoadSetting(name="worker", value=offer.name, source="default", reason=offer.error.message)
        for offer in offers
        if offer.error is not None
    ]


def mtp_setting(shape: ModelShape, load: Load) -> LoadSetting:
    """Return whether the layers that predict further tokens are used, and the reason."""
    problem = shape.unused_mtp or mtp_problem(shape, load.num_parallel)
    if load.workers:
        problem = "not with layers on workers"
    return LoadSetting(
        name="MTP layers",
        value="not used" if problem else "used",
        source="plan",
        reason=problem or "they draft tokens",
    )


def draft_setting(draft: DraftChoice) -> tuple[LoadSetting, ...]:
    """Return the draft model, or why none is used; nothing if there is nothing to say."""
    if not (draft.paths or draft.reason):
        return ()
    value, reason = draft.name, draft.reason
    if draft.paths and draft.size_bytes:
        reason = f"{reason or 'it drafts tokens'}; {draft.size_bytes / GIGABYTE:.2f} GB"
    elif not draft.paths:
        value = f"not used: {draft.name}" if draft.name else "none"
    return (LoadSetting(name="draft model", value=value, source=draft.source, reason=reason),)


def _cache_type_problem(kind: str, options: LoadOptions, shape: ModelShape | None) -> str:
    if kind in PLAIN_CACHE_TYPES:
        return ""
    if options.flash_attention is False:
        return f"{kind} needs flash attention, which the recipe switches off"
    return cache_type_problem(shape, kind) if shape is not None else ""


def _context_reason(values: OpenValues, plan: LoadPlan | None) -> str:
    if plan is None:
        return NO_PLAN
    if values.num_ctx is None:
        return "as long as its share of the memory allows, up to the model's own"
    return plan.context_note


def _device_setting(model: RunnerModel, plan: LoadPlan | None) -> LoadSetting:
    """Return the devices of the load, with the reason for choosing them."""
    if plan is None:
        value = "the runner's"
        return LoadSetting(name="device", value=value, source="default", reason=NO_PLAN)
    gpus = plan.split.gpus
    if gpus:
        value = ", ".join(f"{_label(gpu)} ({gpu.description})" for gpu in gpus)
        return LoadSetting(name="device", value=value, source="default", reason=gpus[0].reason)
    if model.num_gpu_layers == 0:
        return LoadSetting(name="device", value="CPU", source="recipe", reason="num_gpu is 0")
    reason = plan.shares[-1].device.reason or plan.reason
    return LoadSetting(name="device", value="CPU", source="default", reason=reason)


def _label(device: Device) -> str:
    return f"worker `{device.name}`" if device.worker else device.label


def _cache_setting(model: RunnerModel, values: OpenValues) -> LoadSetting:
    name = "cache type"
    if values.cache_note:
        value, reason = DEFAULT_CACHE_TYPE, values.cache_note
        return LoadSetting(name=name, value=value, source="plan", reason=reason)
    own = model.options.cache_type
    return _setting(name, own, values.options.cache_type, DEFAULT_CACHE_TYPE)


def _setting(name: str, by_recipe: object, by_server: object, default: str) -> LoadSetting:
    """Return a setting with its source; ``default`` is shown if nobody set a value."""
    if by_recipe is not None:
        return LoadSetting(name=name, value=str(by_recipe), source="recipe")
    value = default if by_server is None else str(by_server)
    return LoadSetting(name=name, value=value, source="default")
