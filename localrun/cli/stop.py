"""``localrun stop``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.output import Output
from localrun.errors import UsageError


def stop(
    model: Annotated[str | None, Argument(help="The model to unload.")] = None,
    *,
    every: Annotated[bool, Option("--all", help="Unload every model.")] = False,
    server: Annotated[bool, Option("--server", help="End the background server too.")] = False,
) -> None:
    """Take a model out of memory, or end the server.

    Examples: localrun stop guide, localrun stop --all, localrun stop --server
    """
    if sum((model is not None, every, server)) != 1:
        raise UsageError(
            "name one model, or --all, or --server", hint="localrun ps   shows what is loaded"
        )
    import os

    from localrun.client.launch import find_server, stop_server
    from localrun.services.workspace import open_workspace
    from localrun.settings import load_settings

    name = open_workspace(os.environ).models.find_model(model).name if model is not None else None
    client = find_server(load_settings(os.environ))
    output = Output()
    if client is None:
        output.note("no server is running: nothing is loaded")
    elif server:
        stop_server(client)
        output.note("the server has left")
    else:
        loaded = [row["name"] for row in client.running()]
        chosen = loaded if every else [row for row in loaded if row == name]
        for row in chosen:
            client.unload(row)
            output.note(f"unloaded {row}")
        if not chosen:
            output.note("nothing is loaded" if every else f"{name} is not loaded")
