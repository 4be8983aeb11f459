"""``localrun remote rm``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output, for_each


def remote_remove(
    names: Annotated[
        list[str],
        Argument(metavar="NAME", help="Remote models to remove.", autocompletion=complete_model),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Remove remote models; nothing changes at their engines.

    Example: localrun remote rm big
    """
    import os

    from localrun.names.parse import parse_name
    from localrun.services.naming import remove_model
    from localrun.services.remotes.testing import find_remote
    from localrun.services.workspace import open_workspace

    workspace, output = open_workspace(os.environ), Output(as_json=as_json)

    def remove_one(name: str) -> None:
        full_name, _ = find_remote(workspace, name)
        removed = remove_model(workspace, parse_name(full_name))
        if as_json:
            output.event({"removed": removed.name})
        else:
            output.line(f"removed {removed.name}")

    for_each(list(dict.fromkeys(names)), remove_one, output)
