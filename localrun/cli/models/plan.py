"""``localrun plan``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.options import AsJson
from localrun.cli.output import Output


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

    from localrun.cli.planned import show_plan
    from localrun.server.core.defaults import runner_model
    from localrun.services.devices import check_choice
    from localrun.services.memory_plan import MemoryQuery, plan_memory
    from localrun.services.workspace import open_workspace
    from localrun.supervisor.devices import ChosenDevices

    asked = MemoryQuery(num_ctx=ctx, num_parallel=parallel)
    workspace = open_workspace(os.environ)
    settings = workspace.settings
    device = check_choice(settings.device, os.environ)
    devices = ChosenDevices(device, os.environ, most_bytes=settings.memory_bytes)
    found = plan_memory(workspace, model, asked, runner_model, devices)
    show_plan(found, Output(as_json=as_json))
