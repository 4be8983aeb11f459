"""Background server: found, started and stopped by commands.

Two programs may start a server at the same time: the second server finds the address in use and
exits, and its client uses the first.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.client.api import LocalrunClient
from localrun.client.failures import ANOTHER_PORT
from localrun.client.readahead import begin_reading
from localrun.errors import (
    AddressInUseError,
    BackendError,
    NetworkError,
    ServerUnreachableError,
    StorageError,
)
from localrun.private import make_private_folder, open_private
from localrun.program import program_command
from localrun.system.processes import spawn

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from localrun.runner.messages import JsonObject
    from localrun.settings import Settings

START_TIMEOUT_S = 60.0
START_POLL_S = 0.005  # until it listens
LOST_RACE_S = 1.0  # after the exit of our server, for a concurrent server to answer
LATE_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 15.0
SILENT_TRIES = 3
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.02, 0.2
START_LOG = "server-start.log"
SHOWN_LINES = 5


def find_server(settings: Settings, *, wakes: bool = False) -> LocalrunClient | None:
    """Return a client of the running server, None if nothing listens on the address.

    A server with a Unix socket is found without a request: no other program can have it. A service
    that does not run is started only if the caller ``wakes`` it.

    Raises:
        AddressInUseError: another program listens on the address.
        ServerUnreachableError: the host is unknown or unreachable, or the program that listens
            does not answer.
    """
    client = LocalrunClient(settings)
    if client.is_local():
        return client
    if not wakes and client.is_asleep():
        return None
    version = client.version()
    if version is None:
        return None
    if "localrun" not in version:
        raise _another(settings, version)
    return client


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRequest:
    """The model that is about to be requested: a server that is started loads it at once."""

    model: str
    num_ctx: int | None = None
    files: tuple[Path, ...] = ()
    draft: str | None = None


def ensure_server(settings: Settings, first: FirstRequest | None = None) -> LocalrunClient:
    """Return a client of the running server; start a server if none is running.

    Raises:
        ServerUnreachableError: no server answers and none can be started.
        AddressInUseError: another program listens on the address.
    """
    client = _find_slow_server(settings)
    if client is not None:
        return client
    if not settings.is_loopback or (settings.is_tls and settings.access.tls_cert is None):
        raise ServerUnreachableError(
            f"no localrun server answers at {settings.url}",
            hint="start `localrun serve` there, or unset LOCALRUN_HOST",
        )
    log = settings.log_dir / START_LOG
    child = _spawn(log, settings, first)
    if first is not None:
        begin_reading(first.files)
    return _wait_until_up(settings, child, log)


def stop_server(client: LocalrunClient) -> None:
    """Shut the server down; blocks until its address is free, and its process has ended.

    The address of a service stays taken: a request to it would start the server again. A process of
    another machine or container is not waited for, nor one that still ends answers
    after `STOP_TIMEOUT_S`.

    Raises:
        BackendError: the server still answers after `STOP_TIMEOUT_S`.
    """
    deadline = time.monotonic() + STOP_TIMEOUT_S
    process = client.open_process()
    try:
        client.shut_down()
        if not client.has_service():
            _wait_until_free(client, deadline)
        if process is not None:
            process.wait(max(0.0, deadline - time.monotonic()))
    finally:
        if process is not None:
            process.close()


def _wait_until_free(client: LocalrunClient, deadline: float) -> None:
    wait = SHORTEST_WAIT_S
    while _answers(client):
        if time.monotonic() >= deadline:
            raise BackendError("the server does not stop")
        time.sleep(wait)
        wait = min(LONGEST_WAIT_S, wait * 1.5)


def _another(settings: Settings, version: Mapping[str, object]) -> AddressInUseError:
    """Return the error for another program, with its name if its version object reveals it."""
    number = version.get("version")
    name = f": Ollama {number}" if set(version) == {"version"} and number else ""
    return AddressInUseError(
        f"another program than localrun listens on {settings.address}{name}", hint=ANOTHER_PORT
    )


def _answers(client: LocalrunClient) -> bool:
    """Return whether a server in shutdown still answers."""
    try:
        return client.version() is not None
    except NetworkError:  # it closes connections or is too busy
        return True


def _find_slow_server(settings: Settings) -> LocalrunClient | None:
    """Return the server; a server that another program is starting may answer late."""
    for _ in range(SILENT_TRIES - 1):
        try:
            return find_server(settings, wakes=True)
        except ServerUnreachableError as error:
            if not (settings.is_loopback and isinstance(error.__cause__, TimeoutError)):
                raise
    return find_server(settings, wakes=True)


def _spawn(
    log: Path, settings: Settings, first: FirstRequest | None = None
) -> subprocess.Popen[bytes]:
    """Start a server in its own session: Ctrl-C and hang-up of this terminal do not reach it.

    It inherits the environment; a device is passed only if a flag chose it.
    """
    is_flag = settings.source_of("LOCALRUN_DEVICE").startswith("flag")
    options = [f"--device={settings.device}"] if is_flag else []
    if first is not None:
        options.append(f"--load={first.model}")  # one word, which no name can leave
    if first is not None and first.num_ctx is not None:
        options.append(f"--load-ctx={first.num_ctx}")
    if first is not None and first.draft is not None:
        options.append(f"--load-draft={first.draft}")
    try:
        make_private_folder(log.parent)
        with open(log, "wb", opener=open_private) as out:
            return spawn(
                [*program_command(), "serve", "--background", *options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
    except OSError as error:
        raise StorageError(
            f"cannot write the server's log in {log.parent}: {error.strerror}",
            hint="LOCALRUN_LOG_DIR sets another folder",
        ) from error


def _wait_until_up(settings: Settings, child: subprocess.Popen[bytes], log: Path) -> LocalrunClient:
    client, deadline = LocalrunClient(settings), time.monotonic() + START_TIMEOUT_S
    while (version := _version_once_up(client, deadline)) is None:
        if child.poll() is not None:
            is_race_lost = child.returncode == AddressInUseError.exit_code
            deadline = min(deadline, time.monotonic() + (LOST_RACE_S if is_race_lost else 0.0))
        if time.monotonic() >= deadline:
            if child.poll() is None:
                _end(child)
            raise _not_started(log)
        time.sleep(START_POLL_S)
    if version.get("pid") == child.pid:
        child.returncode = 0  # it outlives this process, which must not wait for it
    else:
        _end(child)
    if "localrun" not in version:
        raise _another(settings, version)
    return client


def _version_once_up(client: LocalrunClient, deadline: float) -> JsonObject | None:
    """Return the version object, None if nothing listens yet.

    Blocks while a server listens and does not answer: it is starting.
    """
    try:
        return client.version(max(deadline - time.monotonic(), START_POLL_S))
    except ServerUnreachableError:
        return None


def _end(late: subprocess.Popen[bytes]) -> None:
    """End our server if another one has the address, before it takes the address later."""
    late.terminate()
    try:
        late.wait(LATE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        late.kill()
        late.wait()


def _not_started(log: Path) -> ServerUnreachableError:
    lines = log.read_text(errors="replace").strip().splitlines()[-SHOWN_LINES:]
    return ServerUnreachableError(
        "the background server did not start: " + " / ".join(lines or ["its log is empty"]),
        hint="localrun serve   shows the error",
    )
