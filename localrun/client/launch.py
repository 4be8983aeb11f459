"""Find the server, or start one in the background.

Two programs that start one at the same time are safe: the loser's server finds
the address taken, its client uses the winner's and sees its own end.
"""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from localrun.client.api import ANOTHER_PORT, LocalrunClient
from localrun.errors import (
    AddressInUseError,
    BackendError,
    NetworkError,
    ServerUnreachableError,
    StorageError,
)
from localrun.private import make_private_folder, open_private
from localrun.program import program_command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from localrun.settings import Settings

START_TIMEOUT_S = 60.0
LOST_RACE_S = 1.0  # a server that left may have lost its address to one that is about to answer
LATE_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 15.0
SILENT_TRIES = 3
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.02, 0.2
START_LOG = "server-start.log"
SHOWN_LINES = 5


def find_server(settings: Settings) -> LocalrunClient | None:
    """Return a client of the server that answers, None when nothing listens at the address.

    Raises:
        AddressInUseError: another program has the address.
        ServerUnreachableError: the host is unknown or out of reach, or who listens there does
            not answer.
    """
    client = LocalrunClient(settings)
    version = client.version()
    if version is None:
        return None
    if "localrun" not in version:
        raise AddressInUseError(
            f"another program than localrun listens on {settings.address}{_as_whom(version)}",
            hint=ANOTHER_PORT,
        )
    return client


def ensure_server(settings: Settings) -> LocalrunClient:
    """Return a client of a server that answers, started if none did.

    Raises:
        ServerUnreachableError: none answers and none can be started.
        AddressInUseError: another program has the address.
    """
    client = _patiently_found(settings)
    if client is not None:
        return client
    if not settings.is_loopback or (settings.is_tls and settings.access.tls_cert is None):
        raise ServerUnreachableError(
            f"no localrun server answers at {settings.url}",
            hint="start `localrun serve` there, or unset LOCALRUN_HOST",
        )
    log = settings.log_dir / START_LOG
    return _wait_until_up(settings, _spawn(log, settings), log)


def stop_server(client: LocalrunClient) -> None:
    """Let the server leave; blocks until its address is free.

    Raises:
        BackendError: it is still there after a while.
    """
    client.shut_down()
    deadline, wait = time.monotonic() + STOP_TIMEOUT_S, SHORTEST_WAIT_S
    while _answers(client):
        if time.monotonic() >= deadline:
            raise BackendError("the server does not leave")
        time.sleep(wait)
        wait = min(LONGEST_WAIT_S, wait * 1.5)


def _as_whom(version: Mapping[str, object]) -> str:
    """Return in words what another program says of itself."""
    theirs = version.get("version")
    return f": Ollama {theirs}" if set(version) == {"version"} and theirs else ""


def _answers(client: LocalrunClient) -> bool:
    """Return whether a server that was told to leave is still there."""
    try:
        return client.version() is not None
    except NetworkError:  # it hangs up, or is too busy with leaving
        return True


def _patiently_found(settings: Settings) -> LocalrunClient | None:
    """Return the server; one that another program starts just now may take its time to answer."""
    for _ in range(SILENT_TRIES - 1):
        try:
            return find_server(settings)
        except ServerUnreachableError as error:
            if not (settings.is_loopback and isinstance(error.__cause__, TimeoutError)):
                raise
    return find_server(settings)


def _late_found(settings: Settings) -> LocalrunClient | None:
    """Return the server that was started, None while it does not answer."""
    try:
        return find_server(settings)
    except ServerUnreachableError:
        return None


def _spawn(log: Path, settings: Settings) -> subprocess.Popen[bytes]:
    """Start a server apart from this terminal: its Ctrl-C and hang-up do not reach it.

    It has our environment; a device is told only where that does not say it.
    """
    is_asked = settings.source_of("LOCALRUN_DEVICE").startswith("flag")
    device = ["--device", settings.device] if is_asked else []
    try:
        make_private_folder(log.parent)
        with open(log, "wb", opener=open_private) as out:
            return subprocess.Popen(  # noqa: S603 - our own program
                [*program_command(), "serve", "--background", *device],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
    except OSError as error:
        raise StorageError(
            f"cannot write the server's log in {log.parent}: {error.strerror}",
            hint="LOCALRUN_LOG_DIR names another folder",
        ) from error


def _wait_until_up(settings: Settings, child: subprocess.Popen[bytes], log: Path) -> LocalrunClient:
    deadline, wait = time.monotonic() + START_TIMEOUT_S, SHORTEST_WAIT_S
    while (client := _late_found(settings)) is None:
        if child.poll() is not None:
            deadline = min(deadline, time.monotonic() + LOST_RACE_S)
        if time.monotonic() >= deadline:
            if child.poll() is None:
                _end(child)
            raise _not_started(log)
        time.sleep(wait)
        wait = min(LONGEST_WAIT_S, wait * 1.5)
    if (client.version() or {}).get("pid") == child.pid:
        child.returncode = 0  # it outlives this process, which never waits for it
    else:
        _end(child)
    return client


def _end(late: subprocess.Popen[bytes]) -> None:
    """End a server that lost the race, before it takes the address that the winner leaves."""
    late.terminate()
    try:
        late.wait(LATE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        late.kill()
        late.wait()


def _not_started(log: Path) -> ServerUnreachableError:
    lines = log.read_text(errors="replace").strip().splitlines()[-SHOWN_LINES:]
    return ServerUnreachableError(
        "the background server did not start: " + " / ".join(lines or ["it said nothing"]),
        hint="localrun serve   shows what is wrong",
    )
