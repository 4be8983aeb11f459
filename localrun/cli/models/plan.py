"""``localrun plan``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson, ContextOption, DraftOption, WorkerOption
from localrun.cli.output import Output


def plan(
    model: Annotated[
        str, Argument(help="Name of a model, here or elsewhere.", autocompletion=complete_model)
    ],
    *,
    ctx: ContextOption = None,
    parallel: Annotated[
        int | None, Option(min=1, max=256, help="Number of parallel sequences.")
    ] = None,
    draft: DraftOption = None,
    worker: WorkerOption = None,
    as_json: AsJson = False,
) -> None:
    """Show how much memory a model needs and whether it fits, without loading it.

    For a model that is not here only the header is downloaded.

    Example: localrun plan qwen3:8b --ctx 32k
    """
    import os

    from localrun.cli.options import parse_context
    from localrun.cli.plan_tables import show_plan
    from localrun.services.machine.devices import check_choice, describe_device
    from localrun.services.machine.memory_plan import MemoryQuery, plan_memory
    from localrun.services.machine.workers import check_workers
    from localrun.services.workspace import open_workspace
    from localrun.supervisor.devices import ChosenDevices
    from localrun.supervisor.worker_offers import WorkerOffers

    query = MemoryQuery(num_ctx=parse_context(ctx), num_parallel=parallel, draft=draft)
    workspace = open_workspace(os.environ)
    settings = workspace.settings
    device = check_choice(settings.device, os.environ)
    devices = ChosenDevices(device, os.environ, most_bytes=settings.memory_bytes)
    with WorkerOffers(check_workers(worker or settings.workers)) as offers:
        memory_plan = plan_memory(workspace, model, query, devices, offers.ask)
    output = Output(as_json=as_json)
    show_plan(memory_plan, output)
    if not as_json and (computes := describe_device(device, os.environ)):
        output.line(f"computes on {computes}")
