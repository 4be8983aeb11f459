"""``localrun rm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument

from localrun.cli.options import AsJson
from localrun.cli.output import Output, for_each, human_bytes, plain

if TYPE_CHECKING:
    from localrun.names.ref import ModelRef
    from localrun.services.workspace import Workspace


def remove(
    models: Annotated[list[str], Argument(metavar="MODEL...", help="The models to remove.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Remove models; bytes that another model shares stay.

    Where one of several is not here, the others are removed all the same.

    Example: localrun rm qwen3:0.6b
    """
    import os
    from dataclasses import asdict

    from localrun.names.parse import parse_name
    from localrun.services.naming import remove_model
    from localrun.services.workspace import open_workspace

    workspace = open_workspace(os.environ)
    output = Output(as_json=as_json)

    def remove_one(ref: ModelRef) -> None:
        removed = remove_model(workspace, ref)
        _unload(workspace, removed.name)
        if as_json:
            output.event(asdict(removed))
            return
        output.line(f"removed {plain(removed.name)}, {human_bytes(removed.freed_bytes)} freed")
        if removed.problem is not None:
            output.note(f"warning: no bytes were freed: {removed.problem}")

    for_each([parse_name(name) for name in models], remove_one, output)


def _unload(workspace: Workspace, name: str) -> None:
    """Take the model out of a server's memory, if one runs and has it."""
    from localrun.client.launch import find_server
    from localrun.errors import NetworkError

    try:
        client = find_server(workspace.settings)
        if client is not None and name in {row["name"] for row in client.running()}:
            client.unload(name)
    except NetworkError:  # another program has the address: nothing of ours is loaded
        return
