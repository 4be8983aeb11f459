"""Plans for memory, as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.cli.output import Output, human_bytes
from localrun.services.plan_json import plan_to_json

if TYPE_CHECKING:
    from localrun.services.memory_plan import MemoryPlan

HEADS = ("DEVICE", "LAYERS", "WEIGHTS", "CACHE", "BUFFERS", "TOTAL", "FREE")


def show_plan(found: MemoryPlan, output: Output) -> None:
    """Print a plan, or give it as JSON."""
    told = {"name": found.name, "is_here": found.is_here, **plan_to_json(found.plan)}
    if output.as_json:
        output.json(told)
        return
    _show_devices(told, output)
    made, longest = found.plan, found.shape.trained_context
    output.line(
        f"context {made.num_ctx} of {longest or '?'} tokens, {made.setup.num_slots} sequences, "
        f"cache {made.setup.cache_type}"
    )
    if made.context_note:
        output.line(f"  {made.context_note}")
        if made.num_ctx == longest:
            output.line("  PARAMETER rope_scaling yarn in a Modelfile would stretch it")
    output.line(f"{'fits' if made.fits else 'does not fit'}: {made.reason}")
    for reason in dict.fromkeys(share.device.reason for share in made.shares):
        if reason:
            output.line(f"  device: {reason}")
    for advice in made.advice:
        output.line(f"  {'better' if made.fits else 'would fit'} with {advice}")


def show_reasons(told: dict[str, Any], output: Output) -> None:
    """Print what a server says of a loaded model's settings."""
    rows = [(it["name"], it["value"], it["source"], it["reason"]) for it in told["settings"]]
    output.table(("SETTING", "VALUE", "FROM", "WHY"), rows)
    taken = [f"{human_bytes(size)} on {name}" for name, size in told["memory"].items()]
    if taken:
        output.line(f"takes {', '.join(taken)}")
    if told["plan"] is not None:
        output.line("")
        output.line("planned:")
        _show_devices(told["plan"], output)


def _show_devices(told: dict[str, Any], output: Output) -> None:
    total = ("total", "", "", "", "", human_bytes(told["total_bytes"]), "")
    output.table(HEADS, [*map(_row, told["devices"]), total])


def _row(device: dict[str, Any]) -> tuple[str, ...]:
    sizes = ("weight_bytes", "cache_bytes", "buffer_bytes", "total_bytes", "free_bytes")
    return (device["device"], str(device["layers"]), *(human_bytes(device[it]) for it in sizes))
