"""Notifications of a running server about changes of the store.

The server checks its own store before it acts, because it may use another store than the command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.client.api import LocalrunClient
    from localrun.settings import Settings


def notify_removed(settings: Settings, names: Sequence[str]) -> None:
    """Make the server unload removed models; blocks until it has.

    Raises:
        NetworkError: whether a server is running cannot be determined.
    """
    _notify(settings, lambda client: client.removed(names))


def notify_renamed(settings: Settings, source: str, target: str) -> None:
    """Make the server rename a loaded model.

    Raises:
        NetworkError: whether a server is running cannot be determined.
    """
    _notify(settings, lambda client: client.renamed(source, target))


def _notify(settings: Settings, send: Callable[[LocalrunClient], None]) -> None:
    from localrun.cli.version import warn_of_other_version
    from localrun.client.launch import find_server
    from localrun.errors import NotFoundError, ServerUnreachableError

    client = find_server(settings)
    if client is None:
        return
    try:
        send(client)
    except NotFoundError:  # an older server does not have the route
        warn_of_other_version(client)
    except ServerUnreachableError:
        if find_server(settings) is not None:
            raise
        # the server has stopped meanwhile: nothing is loaded
