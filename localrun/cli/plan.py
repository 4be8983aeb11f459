"""``localrun plan``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_bytes

if TYPE_CHECKING:
    from localrun.services.memory_plan import MemoryPlan

HEADS = ("DEVICE", "LAYERS", "WEIGHTS", "CACHE", "BUFFERS", "TOTAL", "FREE")


def plan(
    model: Annotated[str, Argument(help="A model, here or where it can be pulled from.")],
    *,
    ctx: Annotated[int | None, Option(min=1, help="Size of the context in tokens.")] = None,
    parallel: Annotated[
        int | None, Option(min=1, max=256, help="Sequences that run together.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell how much memory a model takes, and whether it fits, without loading it.

    Of a model that is not here only the header is fetched.

    Example: localrun plan qwen3:8b --ctx 32768
    """
    import os

    from localrun.server.defaults import runner_model
    from localrun.services.memory_plan import Asked, plan_memory
    from localrun.services.workspace import open_workspace

    asked = Asked(num_ctx=ctx, num_parallel=parallel)
    found = plan_memory(open_workspace(os.environ), model, asked, runner_model)
    output = Output(as_json=as_json)
    if as_json:
        from localrun.services.plan_json import plan_to_json

        told = {"name": found.name, "is_here": found.is_here}
        output.json({**told, **plan_to_json(found.plan)})
        return
    _show(found, output)


def _show(found: MemoryPlan, output: Output) -> None:
    from localrun.services.plan_json import plan_to_json

    show_devices(plan_to_json(found.plan), output)
    made = found.plan
    longest = found.shape.trained_context
    output.line(
        f"context {made.num_ctx} of {longest or '?'} tokens, {made.setup.num_slots} sequences, "
        f"cache {made.setup.cache_type}"
    )
    output.line(f"{'fits' if made.fits else 'does not fit'}: {made.reason}")
    for advice in made.advice:
        output.line(f"  better with {advice}" if made.fits else f"  would fit with {advice}")


def show_devices(told: dict[str, Any], output: Output) -> None:
    """Print what each device gives, and the sum."""
    rows = [_row(device) for device in told["devices"]]
    total = ("total", "", "", "", "", human_bytes(told["total_bytes"]), "")
    output.table(HEADS, [*rows, total])


def _row(device: dict[str, Any]) -> tuple[str, ...]:
    sizes = ("weight_bytes", "cache_bytes", "buffer_bytes", "total_bytes", "free_bytes")
    return (device["device"], str(device["layers"]), *(human_bytes(device[it]) for it in sizes))
