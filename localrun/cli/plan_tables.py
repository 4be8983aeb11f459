"""Tables of memory plans and of the settings of loaded models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.cli.output import Output, human_bytes
from localrun.services.machine.plan_json import draft_to_json, plan_to_json

if TYPE_CHECKING:
    from localrun.services.machine.memory_plan import MemoryPlan
    from localrun.supervisor.draft_choice import DraftChoice

HEADS = ("DEVICE", "LAYERS", "WEIGHTS", "CACHE", "BUFFERS", "TOTAL", "FREE")


def show_plan(memory_plan: MemoryPlan, output: Output) -> None:
    """Print a plan as tables or as JSON."""
    plan = memory_plan.plan
    as_json = {
        "name": memory_plan.name,
        "is_here": memory_plan.is_here,
        "cannot_load": memory_plan.unknown,
        "projector_bytes": memory_plan.projector_bytes,
        "workers_away": list(memory_plan.away),
        "draft": draft_to_json(memory_plan.draft),
        **plan_to_json(plan),
    }
    if output.as_json:
        output.json(as_json)
        return
    _show_devices(as_json, output)
    _show_context(memory_plan, output)
    if memory_plan.unknown:
        output.line(f"cannot be loaded: {memory_plan.unknown}")
    _show_verdict(memory_plan, output)


def _show_verdict(memory_plan: MemoryPlan, output: Output) -> None:
    """Print whether the model fits, why, and what would help."""
    plan = memory_plan.plan
    output.line(f"{'fits' if plan.fits else 'does not fit'}: {plan.reason}")
    for reason in memory_plan.away:
        output.line(f"  {reason}")
    for reason in dict.fromkeys(share.device.reason for share in plan.shares):
        if reason:
            output.line(f"  device: {reason}")
    for advice in plan.advice:
        output.line(f"  {'better' if plan.fits else 'would fit'} with {advice}")


def _show_context(memory_plan: MemoryPlan, output: Output) -> None:
    plan, trained_context = memory_plan.plan, memory_plan.shape.trained_context
    output.line(
        f"context {plan.num_ctx} of {trained_context or '?'} tokens, "
        f"{plan.setup.num_slots} sequences, cache {plan.setup.cache_type}"
    )
    if memory_plan.projector_bytes:
        size = human_bytes(memory_plan.projector_bytes)
        output.line(
            f"projector {size} of the total, with the buffers of its largest image and sound"
        )
    _show_draft(memory_plan.draft, output)
    if plan.context_note:
        output.line(f"  {plan.context_note}")
        if plan.num_ctx == trained_context:
            output.line("  PARAMETER rope_scaling yarn in a Modelfile extends it")


def _show_draft(draft: DraftChoice, output: Output) -> None:
    if draft.paths:
        output.line(f"draft model {draft.name}, {human_bytes(draft.size_bytes)} of the total")
    elif draft.reason and draft.name:
        output.line(f"draft model {draft.name} not used: {draft.reason}")


def show_settings(explanation: dict[str, Any], output: Output) -> None:
    """Print the settings of a loaded model and their sources, as the server reports them."""
    columns = ("name", "value", "source", "reason")
    rows = [[setting[key] for key in columns] for setting in explanation["settings"]]
    output.table(("SETTING", "VALUE", "FROM", "WHY"), rows)
    memory = [f"{human_bytes(size)} on {name}" for name, size in explanation["memory"].items()]
    if memory:
        output.line(f"memory: {', '.join(memory)}")
    if explanation["plan"] is not None:
        output.line("")
        output.line("planned:")
        _show_devices(explanation["plan"], output)


def _show_devices(plan: dict[str, Any], output: Output) -> None:
    total = ("total", "", "", "", "", human_bytes(plan["total_bytes"]), "")
    output.table(HEADS, [*map(_row, plan["devices"]), total])


def _row(device: dict[str, Any]) -> tuple[str, ...]:
    sizes = ("weight_bytes", "cache_bytes", "buffer_bytes", "total_bytes", "free_bytes")
    return (device["device"], str(device["layers"]), *(human_bytes(device[size]) for size in sizes))
