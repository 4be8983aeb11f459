"""``localrun version``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun import __version__
from localrun.cli.options import AsJson
from localrun.cli.output import Output
from localrun.errors import AddressInUseError, ServerUnreachableError, UnauthorizedError

if TYPE_CHECKING:
    from localrun.client.api import LocalrunClient


def version(*, as_json: AsJson = False) -> None:
    """Print the version of this program and of the running server.

    Example: localrun version
    """
    import os

    from localrun.client.api import LocalrunClient
    from localrun.settings import load_settings

    client = LocalrunClient(load_settings(os.environ))
    if as_json:
        try:
            server_version = _server_version(client)
        except (AddressInUseError, ServerUnreachableError):
            server_version = None
        Output(as_json=True).json({"localrun": __version__, "server": server_version})
        return
    Output().line(f"localrun {__version__}")
    try:
        warn_of_other_version(client)
    except (AddressInUseError, ServerUnreachableError) as error:
        Output().note(f"warning: {error.message}")


def warn_of_other_version(client: LocalrunClient) -> None:
    """Print a warning if the running server has another version than this program."""
    server_version = _server_version(client)
    if server_version is not None:
        warn_unless_own(server_version)


def warn_unless_own(server_version: str) -> None:
    """Print a warning if the version of the running server is not that of this program."""
    if server_version != __version__:
        output = Output()
        output.note(f"warning: the running server is version {server_version}")
        output.note("hint: localrun stop --server   stops it; the next run starts a new one")


def _server_version(client: LocalrunClient) -> str | None:
    if client.is_asleep():
        return None
    try:
        return (client.version() or {}).get("localrun")
    except UnauthorizedError:
        return None
