"""``localrun mv``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output

if TYPE_CHECKING:
    from localrun.errors import LocalrunError


def move(
    source: Annotated[str, Argument(help="Name of a local model.", autocompletion=complete_model)],
    target: Annotated[str, Argument(help="New name.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Rename a model; no data is copied.

    A loaded model stays loaded, and running answers continue.

    Example: localrun mv qwen3:0.6b small
    """
    import os

    from localrun.cli.notifications import notify_renamed
    from localrun.errors import LocalrunError
    from localrun.names.parse import parse_name
    from localrun.services.naming import move_model
    from localrun.services.workspace import open_workspace

    workspace = open_workspace(os.environ)
    problems: list[LocalrunError] = []

    def notify_server(old: str, new: str) -> None:
        try:
            notify_renamed(workspace.settings, old, new)
        except LocalrunError as error:  # the model is renamed anyway
            problems.append(error)

    name = move_model(workspace, parse_name(source), parse_name(target), notify_server)
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": name, "source": source})
    else:
        output.line(f"renamed {source} to {name}")
    if problems:
        raise problems[0]
