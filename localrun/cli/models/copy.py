"""``localrun cp``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output


def copy(
    source: Annotated[str, Argument(help="Name of a local model.", autocompletion=complete_model)],
    target: Annotated[str, Argument(help="Second name.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Give a model a second name; the files are shared, not copied.

    Example: localrun cp qwen3:0.6b mine
    """
    import os

    from localrun.names.parse import parse_name
    from localrun.services.naming import copy_model
    from localrun.services.workspace import open_workspace

    name = copy_model(open_workspace(os.environ), parse_name(source), parse_name(target))
    output = Output(as_json=as_json)
    if as_json:
        output.json({"name": name, "source": source})
    else:
        output.line(f"{name} is the same model as {source}")
