"""Find the server, or start one in the background.

Two programs that start one at the same time are safe: the loser's server finds
the address taken and ends, and its client uses the winner's.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

from localrun import __version__
from localrun.client.api import LocalrunClient
from localrun.errors import AddressInUseError, ServerUnreachableError, StorageError
from localrun.program import program_command

if TYPE_CHECKING:
    from localrun.settings import Settings

START_TIMEOUT_S = 60.0
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.02, 0.2
START_LOG = "server-start.log"
SHOWN_LINES = 5


def ensure_server(settings: Settings) -> LocalrunClient:
    """Return a client of a server that answers, started if none did.

    Raises:
        ServerUnreachableError: none answers and none can be started.
        AddressInUseError: another program has the address.
    """
    client = LocalrunClient(settings)
    if (version := client.version()) is not None:
        _require_localrun(version, settings)
        return client
    if not settings.is_loopback:
        raise ServerUnreachableError(
            f"no localrun server answers at {settings.address}",
            hint="start `localrun serve` there, or unset LOCALRUN_HOST",
        )
    _start(settings, client)
    return client


def is_other_version(version: dict[str, object]) -> bool:
    """Tell whether a server of another version of localrun answers."""
    return version.get("localrun") != __version__


def _start(settings: Settings, client: LocalrunClient) -> None:
    log = settings.log_dir / START_LOG
    try:
        settings.log_dir.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            child = subprocess.Popen(  # noqa: S603 - our own program
                [*program_command(), "serve", "--background"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env=dict(os.environ),
            )
    except OSError as error:
        raise StorageError(
            f"cannot write the server's log in {settings.log_dir}: {error.strerror}",
            hint="LOCALRUN_LOG_DIR names another folder",
        ) from error
    deadline, wait = time.monotonic() + START_TIMEOUT_S, SHORTEST_WAIT_S
    while time.monotonic() < deadline:
        if (version := client.version()) is not None:
            _require_localrun(version, settings)
            return
        if child.poll() is not None:
            break
        time.sleep(wait)
        wait = min(LONGEST_WAIT_S, wait * 1.5)
    if (version := client.version()) is not None:  # another program's server has won the race
        _require_localrun(version, settings)
        return
    lines = log.read_text(errors="replace").strip().splitlines()[-SHOWN_LINES:]
    raise ServerUnreachableError(
        "the background server did not start: " + " / ".join(lines or ["it said nothing"]),
        hint="localrun serve   shows what is wrong",
    )


def _require_localrun(version: dict[str, object], settings: Settings) -> None:
    if "localrun" not in version:
        raise AddressInUseError(
            f"another program than localrun listens on {settings.address}",
            hint="LOCALRUN_HOST=127.0.0.1:11500 localrun run ...   uses another port",
        )
