"""``localrun stop``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output
from localrun.errors import UsageError


def stop(
    model: Annotated[
        str | None, Argument(help="Name of the model to unload.", autocompletion=complete_model)
    ] = None,
    *,
    every: Annotated[bool, Option("--all", help="Unload all models.")] = False,
    server: Annotated[bool, Option("--server", help="Stop the background server.")] = False,
    as_json: AsJson = False,
) -> None:
    """Unload a model from memory, or stop the server.

    Examples: localrun stop guide, localrun stop --all, localrun stop --server
    """
    if sum((model is not None, every, server)) != 1:
        raise UsageError(
            "specify one model, or --all, or --server", hint="localrun ps   lists the loaded models"
        )
    import os

    from localrun.client.launch import find_server, stop_server
    from localrun.names.adapters import is_same_name
    from localrun.services.workspace import open_workspace

    workspace = open_workspace(os.environ)
    client = find_server(workspace.settings)
    loaded = client.states() if client is not None and not server else []
    names = [row["name"] for row in loaded if row["state"] not in {"failed", "remote"}]
    chosen = names if every else [name for name in names if model and is_same_name(name, model)]
    unloaded = list(dict.fromkeys(chosen))
    if model is not None and not unloaded:
        nothing = f"{workspace.models.find_model(model).name} is not loaded"
    else:
        nothing = "nothing is loaded"
    lines = [f"unloaded {name}" for name in unloaded] or [nothing]
    if client is None:
        lines = [f"no server is running at {workspace.settings.address}: nothing is loaded"]
    elif server:
        stop_server(client)
        lines = ["the server has stopped"]
    else:
        for name in unloaded:
            client.unload(name)
    output = Output(as_json=as_json)
    if as_json:
        is_stopped = server and client is not None
        output.json({"unloaded": unloaded, "server_stopped": is_stopped})
    else:
        for line in lines:
            output.note(line)
