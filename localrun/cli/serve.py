"""``localrun serve``."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from localrun.cli.options import AskedDevice


def serve(
    *,
    host: Annotated[
        str | None,
        Option(help="Address to listen on, such as 127.0.0.1:8080. [env: LOCALRUN_HOST]"),
    ] = None,
    device: AskedDevice = None,
    insecure: Annotated[
        bool, Option("--insecure", help="Let other machines in although no key is asked for.")
    ] = False,
    background: Annotated[bool, Option("--background", hidden=True)] = False,
) -> None:
    """Start the server in this terminal; Ctrl-C ends it.

    Programs that speak OpenAI's API find it at http://127.0.0.1:11435/v1, those that know Ollama at
    http://127.0.0.1:11435.

    Example: localrun serve
    """
    import os

    from localrun.server.run import run_server
    from localrun.settings import load_settings

    asked = {"LOCALRUN_HOST": host, "LOCALRUN_DEVICE": device}
    environ = {**os.environ, **{name: value for name, value in asked.items() if value}}
    run_server(load_settings(environ), background=background, insecure=insecure)
