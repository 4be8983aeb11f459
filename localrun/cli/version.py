"""``localrun version``."""

from __future__ import annotations

from localrun import __version__
from localrun.cli.options import AsJson
from localrun.cli.output import Output


def version(*, as_json: AsJson = False) -> None:
    """Print the version of this program and of the running server.

    Example: localrun version
    """
    import os

    from localrun.client.api import LocalrunClient
    from localrun.settings import load_settings

    answer = LocalrunClient(load_settings(os.environ)).version() or {}
    server = answer.get("localrun")
    output = Output(as_json=as_json)
    if as_json:
        output.json({"localrun": __version__, "server": server})
        return
    output.line(f"localrun {__version__}")
    if server is not None and server != __version__:
        output.note(f"warning: the running server is version {server}")
        output.note("hint: localrun stop --server   ends it; the next run starts a new one")
