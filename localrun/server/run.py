"""Run the server: bind, log, serve, leave.

    foreground   logs to stderr, ends on Ctrl-C or SIGTERM
    background   logs to ``server.log``, also leaves when nothing has used it for a while

Leaving: no new requests; open answers have `LOCALRUN_DRAIN` to end, then they end by an
error; then the runners are gone, and only then the process. A second signal does not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import gc
import logging
import os
import signal
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from localrun.errors import AddressInUseError, NetworkError, UsageError
from localrun.hardware.choice import CPU
from localrun.logs import HarmlessFormatter
from localrun.server.app import create_app
from localrun.server.core.loaded_names import LoadedNames
from localrun.server.core.metrics import Metrics
from localrun.server.log_file import PrivateLog
from localrun.server.middleware.activity import Activity
from localrun.server.middleware.keys import read_keys
from localrun.server.middleware.request_id import LOG_FORMAT, RequestFilter
from localrun.server.middleware.timeouts import TimeoutProtocol
from localrun.server.tls import tls_options
from localrun.services.devices import check_choice, report_unused
from localrun.services.workspace import Workspace
from localrun.supervisor.devices import ChosenDevices
from localrun.supervisor.memory_history import MemoryHistory
from localrun.supervisor.pool import RunnerPool
from localrun.supervisor.runner_process import start_runner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.server.middleware.keys import Keys
    from localrun.server.tls import TlsOptions
    from localrun.settings import Settings
    from localrun.supervisor.runner_process import StartProcess

_log = logging.getLogger(__name__)

BACKLOG = 2048
LONGEST_DRAIN_S = 86400
LAST_WORDS_S = 5  # for answers that were ended by an error to reach their clients
IDLE_CHECK_S = 1.0  # also the shortest idle time: who started this server has yet to come


def run_server(
    settings: Settings,
    *,
    background: bool,
    insecure: bool = False,
    start: StartProcess | None = None,
) -> None:
    """Serve until told to leave; blocks, and needs the main thread for its signals.

    Raises:
        AddressInUseError: another program has the address.
        UsageError: the address is open to others, there is no key, and ``insecure`` was not
            said; or the machine has not got the device of the settings.
        StorageError: keys or a certificate cannot be read.
    """
    keys = read_keys(settings.access)
    if not settings.is_loopback and not keys and not insecure:
        raise UsageError(
            f"{settings.host} lets other machines use this server, and it asks for no key",
            hint="export LOCALRUN_API_KEY=$(openssl rand -hex 32)   or --insecure",
        )
    tls = tls_options(settings)
    device = check_choice(settings.device, os.environ)
    start = start or functools.partial(start_runner, device=device)
    with bind(settings) as listener:
        _set_up_logging(settings, background=background)
        devices = ChosenDevices(device, os.environ, most_bytes=settings.memory_bytes)
        pool = RunnerPool(
            keep_alive_s=settings.keep_alive_s,
            start=start,
            devices=devices,
            invalidate_devices=devices.invalidate,
            memory_history=MemoryHistory(settings.needs_file),
            max_waiting=settings.max_queue,
        )
        _report_devices(settings)
        try:
            _serve(_Plan(settings, keys, tls, background), pool, listener)
        finally:
            pool.close()
    _log.info("left")


def bind(settings: Settings) -> socket.socket:
    """Return a listening socket on the settings' address.

    Raises:
        AddressInUseError: another program has it.
        NetworkError: it is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(
                f"another program listens on {settings.address}",
                hint="localrun stop --server   if it is localrun; else set LOCALRUN_HOST",
            ) from error
        raise NetworkError(f"cannot listen on {settings.address}: {error.strerror}") from error


class _Server(uvicorn.Server):
    """Uvicorn without its signals: it raises them again at its end, before runners are closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, slots=True)
class _Plan:
    """What kind of server is run."""

    settings: Settings
    keys: Keys
    tls: TlsOptions
    background: bool


def _serve(plan: _Plan, pool: RunnerPool, listener: socket.socket) -> None:
    settings = plan.settings
    leave = asyncio.Event()
    activity = Activity()
    workspace = Workspace(
        settings, os.environ, takes_paths=settings.is_loopback, explains_paths=False
    )
    metrics = Metrics()
    app = create_app(
        pool,
        workspace.models,
        workspace,
        metrics=metrics,
        shut_down=leave.set,
        keys=plan.keys,
    )
    config = uvicorn.Config(
        activity.watch(app),
        http=TimeoutProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=int(_drain_s(settings)) + LAST_WORDS_S,
        server_header=False,
        **plan.tls,
    )
    idle_exit_s = settings.idle_exit_s if plan.background else None

    gc.freeze()  # what was imported: each full collection would look at it for some 30 ms

    async def serve() -> None:
        server = _Server(config)
        _obey_signals(server, leave, pool)
        watchers = [
            asyncio.create_task(_leave_when_told(leave, server, pool, _drain_s(settings))),
            asyncio.create_task(metrics.watch_loop()),
            asyncio.create_task(LoadedNames(pool, workspace.models).watch_loop()),
        ]
        if idle_exit_s is not None:
            watchers.append(asyncio.create_task(_leave_when_idle(idle_exit_s, activity, leave)))
        scheme = "https" if plan.tls else "http"
        _log.info("listening on %s://%s:%s", scheme, *listener.getsockname()[:2])
        await server.serve(sockets=[listener])
        for watcher in watchers:
            watcher.cancel()

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve())


def _report_devices(settings: Settings) -> None:
    """Log GPUs that lie idle, while the server starts."""
    if settings.device != CPU:
        threading.Thread(
            target=report_unused, args=(dict(os.environ),), name="devices", daemon=True
        ).start()


def _drain_s(settings: Settings) -> float:
    return LONGEST_DRAIN_S if settings.drain_s is None else settings.drain_s


def _obey_signals(server: uvicorn.Server, leave: asyncio.Event, pool: RunnerPool) -> None:
    """Leave on Ctrl-C, SIGTERM or the end of the terminal, on a second one at once."""
    hurry = functools.partial(pool.close, is_hasty=True)

    def obey() -> None:
        if leave.is_set() and not server.force_exit:
            server.force_exit = True
            threading.Thread(target=hurry, name="hurry", daemon=True).start()
        leave.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            asyncio.get_running_loop().add_signal_handler(number, obey)


async def _leave_when_told(
    leave: asyncio.Event, server: uvicorn.Server, pool: RunnerPool, drain_s: float
) -> None:
    await leave.wait()
    _log.info("leaving")
    server.should_exit = True
    await asyncio.sleep(drain_s)  # cut short when the server is done earlier
    await asyncio.to_thread(pool.close)


async def _leave_when_idle(idle_exit_s: float, activity: Activity, leave: asyncio.Event) -> None:
    while activity.idle_s < max(idle_exit_s, IDLE_CHECK_S):  # noqa: ASYNC110 - time is the event
        await asyncio.sleep(IDLE_CHECK_S)
    _log.info("nobody has used this server for %.0f s", idle_exit_s)
    leave.set()


def _set_up_logging(settings: Settings, *, background: bool) -> None:
    handler: logging.Handler = logging.StreamHandler()
    if background:
        handler = PrivateLog.in_folder(settings.log_dir)
    handler.setFormatter(HarmlessFormatter(LOG_FORMAT))
    handler.addFilter(RequestFilter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
