"""Where every setting of a load came from, and why it is so.

What was decided elsewhere is told as who decided: "request", "recipe", "default" (ours, or
the server's own), "plan" (made of the model and of the memory that is free).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.hardware.plan import LoadPlan
    from localrun.runner.messages import Load
    from localrun.supervisor.model import RunnerModel

PLAIN_CACHE = "f16"
NO_PLAN = "the file does not tell enough for a plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSetting:
    """A setting of a loaded model, and who chose it."""

    name: str
    value: str
    source: str
    reason: str = ""


def settings_of(
    model: RunnerModel, asked: int | None, load: Load, plan: LoadPlan | None
) -> tuple[LoadSetting, ...]:
    """Return the settings of a load for a request that asks for a context of ``asked``."""
    options = model.options
    given = "request" if asked else "recipe"
    return (
        LoadSetting(
            name="context",
            value=str(load.num_ctx or "the runner's"),
            source=given if asked or model.num_ctx else "plan",
            reason=_context_reason(asked or model.num_ctx, plan),
        ),
        _device(model, plan),
        LoadSetting(
            name="layers on GPU",
            value=str(load.num_gpu_layers) if plan is None else str(plan.split.num_gpu_layers),
            source="plan" if model.num_gpu_layers < 0 else "recipe",
            reason=plan.reason if plan else "",
        ),
        LoadSetting(name="parallel", value=str(load.num_parallel), source="default"),
        _setting("threads", model.num_threads, "as many as help"),
        _setting("cache type", options.cache_type, PLAIN_CACHE),
        _setting("flash attention", options.flash_attention, "where the device has it"),
        _setting("batch", options.num_batch, "512"),
        _setting("memory map", options.use_mmap, "yes"),
    )


def _device(model: RunnerModel, plan: LoadPlan | None) -> LoadSetting:
    """Return what computes, and the reason of the choice among what the machine has."""
    if plan is None:
        return LoadSetting(name="device", value="the runner's", source="default", reason=NO_PLAN)
    gpus = plan.split.gpus
    if gpus:
        value = ", ".join(f"{gpu.label} ({gpu.description})" for gpu in gpus)
        return LoadSetting(name="device", value=value, source="default", reason=gpus[0].reason)
    if model.num_gpu_layers == 0:
        return LoadSetting(name="device", value="CPU", source="recipe", reason="num_gpu is 0")
    host = plan.shares[-1].device
    reason = host.reason or plan.reason
    return LoadSetting(name="device", value="CPU", source="default", reason=reason)


def _setting(name: str, value: object, default: str) -> LoadSetting:
    if value is None:
        return LoadSetting(name=name, value=default, source="default")
    return LoadSetting(name=name, value=str(value), source="recipe")


def _context_reason(wanted: int | None, plan: LoadPlan | None) -> str:
    if plan is None:
        return NO_PLAN
    if wanted is None:
        return "as long as its share of the memory allows, up to the model's own"
    return plan.context_note
