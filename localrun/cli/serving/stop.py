"""``localrun stop``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.options import AsJson
from localrun.cli.output import Output
from localrun.errors import UsageError


def stop(
    model: Annotated[str | None, Argument(help="The model to unload.")] = None,
    *,
    every: Annotated[bool, Option("--all", help="Unload every model.")] = False,
    server: Annotated[bool, Option("--server", help="End the background server too.")] = False,
    as_json: AsJson = False,
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
    from localrun.names.adapters import is_same_name
    from localrun.services.workspace import open_workspace

    workspace = open_workspace(os.environ)
    client = find_server(workspace.settings)
    loaded = client.states() if client is not None and not server else []
    names = [row["name"] for row in loaded if row["state"] != "failed"]
    meant = names if every else [one for one in names if model and is_same_name(one, model)]
    unloaded = list(dict.fromkeys(meant))
    if model is not None and not unloaded:
        nothing = f"{workspace.models.find_model(model).name} is not loaded"
    else:
        nothing = "nothing is loaded"
    told = [f"unloaded {name}" for name in unloaded] or [nothing]
    if client is None:
        told = [f"no server runs at {workspace.settings.address}: nothing is loaded"]
    elif server:
        stop_server(client)
        told = ["the server has left"]
    else:
        for name in unloaded:
            client.unload(name)
    output = Output(as_json=as_json)
    if as_json:
        has_left = server and client is not None
        output.json({"unloaded": unloaded, "server_stopped": has_left})
    else:
        for line in told:
            output.note(line)
