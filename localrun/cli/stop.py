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
    from localrun.services.workspace import open_workspace
    from localrun.settings import load_settings

    name = open_workspace(os.environ).models.find_model(model).name if model is not None else None
    client = find_server(load_settings(os.environ))
    unloaded: list[str] = []
    if client is None:
        told = ["no server is running: nothing is loaded"]
    elif server:
        stop_server(client)
        told = ["the server has left"]
    else:
        loaded = [row["name"] for row in client.states() if row["state"] != "failed"]
        unloaded = loaded if every else [row for row in loaded if row == name]
        for row in unloaded:
            client.unload(row)
        nothing = "nothing is loaded" if every else f"{name} is not loaded"
        told = [f"unloaded {row}" for row in unloaded] or [nothing]
    output = Output(as_json=as_json)
    if as_json:
        has_left = server and client is not None
        output.json({"unloaded": unloaded, "server_stopped": has_left})
    else:
        for line in told:
            output.note(line)
