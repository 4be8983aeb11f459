"""Hidden command of the background server, which other commands start.

    serve --background [--device=DEVICE] [--load=MODEL] [--load-ctx=TOKENS] [--load-draft=MODEL]
                       [--stay]

``--stay``: the server does not leave when it is idle.

Its options are read without typer: the import takes as long as the rest of the way to the socket
on which a command waits. Everything else is in the environment, which it has from the command.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

BACKGROUND_SERVER = ["serve", "--background"]
DEVICE, LOAD, STAY = "--device", "--load", "--stay"
LOAD_CTX, LOAD_DRAFT = "--load-ctx", "--load-draft"


def serve_in_background(arguments: Sequence[str]) -> None:
    """Serve until the server has been idle for a while; blocks.

    Raises:
        UsageError: the options are not those above.
        LocalrunError: the server cannot start.
    """
    from localrun.cli.internal.warm import start
    from localrun.server.core.early_load import EarlyLoad
    from localrun.server.start import run_server
    from localrun.settings import load_settings

    options = _read_options(arguments)
    name, num_ctx = options.get(LOAD), options.get(LOAD_CTX)
    idle_exit = "-1" if STAY in options else None
    settings = load_settings(
        os.environ,
        {"LOCALRUN_DEVICE": options.get(DEVICE), "LOCALRUN_IDLE_EXIT": idle_exit},
    )
    early = None
    if name is not None:
        early = EarlyLoad(
            name=name, num_ctx=int(num_ctx) if num_ctx else None, draft=options.get(LOAD_DRAFT)
        )
    run_server(settings, background=True, start_warm=start, early=early)


def _read_options(arguments: Sequence[str]) -> dict[str, str]:
    """Return the values by option; a value may be any text."""
    options = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument != STAY and (not equals or name not in {DEVICE, LOAD, LOAD_CTX, LOAD_DRAFT}):
            raise UsageError(f"{argument} is no option of the background server")
        options[name] = value
    if not options.get(LOAD_CTX, "0").isdecimal():
        raise UsageError(f"{LOAD_CTX} must be a number of tokens")
    return options
