"""``localrun why``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from localrun.cli.options import AsJson
from localrun.cli.output import Output


def why(
    model: Annotated[str, Argument(help="A model that is loaded.")], *, as_json: AsJson = False
) -> None:
    """Tell why a loaded model is set up as it is, and who chose each setting.

    Example: localrun why guide
    """
    import os

    from localrun.cli.planned import show_reasons
    from localrun.client.launch import find_server
    from localrun.errors import ModelNotFoundError
    from localrun.settings import load_settings

    client = find_server(load_settings(os.environ))
    if client is None:
        raise ModelNotFoundError(
            f"{model} is not loaded: no server runs",
            hint=f"localrun plan {model}   tells what would be done",
        )
    told, output = client.why(model), Output(as_json=as_json)
    if as_json:
        output.json(told)
    else:
        show_reasons(told, output)
