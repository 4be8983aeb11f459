"""``localrun mv``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from localrun.cli.options import AsJson
from localrun.cli.output import Output


def move(
    source: Annotated[str, Argument(help="A model that is here.")],
    target: Annotated[str, Argument(help="Its new name.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Give a model another name; its bytes stay where they are.

    Example: localrun mv qwen3:0.6b small
    """
    import os

    from localrun.names.parse import parse_name
    from localrun.services.naming import move_model
    from localrun.services.workspace import open_workspace

    name = move_model(open_workspace(os.environ), parse_name(source), parse_name(target))
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": name, "source": source})
    else:
        output.line(f"{source} is {name} now")
