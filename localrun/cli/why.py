"""``localrun why``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_bytes


def why(
    model: Annotated[str, Argument(help="A model that is loaded.")], *, as_json: AsJson = False
) -> None:
    """Tell why a loaded model is set up as it is, and who chose each setting.

    Example: localrun why guide
    """
    import os

    from localrun.cli.plan import show_devices
    from localrun.client.launch import find_server
    from localrun.errors import ModelNotFoundError
    from localrun.settings import load_settings

    client = find_server(load_settings(os.environ))
    if client is None:
        raise ModelNotFoundError(
            f"{model} is not loaded: no server runs", hint=f"localrun plan {model}"
        )
    told = client.why(model)
    output = Output(as_json=as_json)
    if as_json:
        output.json(told)
        return
    rows = [(it["name"], it["value"], it["source"], it["reason"]) for it in told["settings"]]
    output.table(("SETTING", "VALUE", "FROM", "WHY"), rows)
    taken = ", ".join(f"{human_bytes(size)} on {name}" for name, size in told["memory"].items())
    output.line(f"takes {taken or 'nothing that is known'}")
    if told["plan"] is not None:
        output.line("")
        output.line("planned:")
        show_devices(told["plan"], output)
