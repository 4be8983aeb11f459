"""``localrun why``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output


def why(
    model: Annotated[str, Argument(help="Name of a loaded model.", autocompletion=complete_model)],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the settings of a loaded model and the source of each setting.

    Example: localrun why guide
    """
    import os

    from localrun.cli.plan_tables import show_settings
    from localrun.client.launch import find_server
    from localrun.errors import ModelNotFoundError
    from localrun.settings import load_settings

    client = find_server(load_settings(os.environ))
    if client is None:
        raise ModelNotFoundError(
            f"{model} is not loaded: no server is running",
            hint=f"localrun plan {model}   shows the settings of a load",
        )
    explanation, output = client.why(model), Output(as_json=as_json)
    if as_json:
        output.json(explanation)
    else:
        show_settings(explanation, output)
