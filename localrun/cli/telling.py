"""What commands that change the store tell the server, if there is one.

The server looks at its own store before it acts: it may have another one than we have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.client.api import LocalrunClient
    from localrun.settings import Settings


def tell_removed(settings: Settings, names: Sequence[str]) -> None:
    """Let the server end what it has loaded of removed models; blocks until it has.

    Raises:
        NetworkError: it is not known whether there is a server.
    """
    _tell(settings, lambda client: client.removed(names))


def tell_renamed(settings: Settings, source: str, target: str) -> None:
    """Let the server carry what it has loaded along to the new name.

    Raises:
        NetworkError: it is not known whether there is a server.
    """
    _tell(settings, lambda client: client.renamed(source, target))


def _tell(settings: Settings, act: Callable[[LocalrunClient], None]) -> None:
    from localrun.cli.version import warn_of_other_version
    from localrun.client.launch import find_server
    from localrun.errors import NotFoundError, ServerUnreachableError

    client = find_server(settings)
    if client is None:
        return
    try:
        act(client)
    except NotFoundError:  # an older server knows no such request
        warn_of_other_version(client)
    except ServerUnreachableError:
        if find_server(settings) is not None:
            raise
        # it left meanwhile: nothing is loaded any more
