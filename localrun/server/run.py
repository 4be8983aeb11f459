"""Server process: bind, log, serve, shut down.

    foreground   logs to stderr, ends on Ctrl-C or SIGTERM
    background   logs to ``server.log``, also ends after an idle time

Shutdown: new requests are refused; open answers have `LOCALRUN_DRAIN` to finish, then they end
with an error; then the runners exit, and the process last. A second signal shuts down at once.
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
from localrun.server.middleware.access_log import LOG_FORMAT, RequestFilter
from localrun.server.middleware.activity import Activity
from localrun.server.middleware.keys import read_keys
from localrun.server.middleware.timeouts import TimeoutProtocol
from localrun.server.tls import tls_options
from localrun.server.unix_socket import serve_unix, unix_listener
from localrun.services.devices import check_choice, report_unused
from localrun.services.workspace import Workspace
from localrun.sockets import WARM, socket_path
from localrun.supervisor.devices import ChosenDevices
from localrun.supervisor.memory_history import MemoryHistory
from localrun.supervisor.pool import RunnerPool
from localrun.supervisor.runner_process import start_runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp

    from localrun.server.middleware.keys import Keys
    from localrun.server.tls import TlsOptions
    from localrun.server.unix_socket import UnixListener
    from localrun.settings import Settings
    from localrun.supervisor.runner_process import StartProcess
    from localrun.warm.process import Warm

_log = logging.getLogger(__name__)

BACKLOG = 2048
LONGEST_DRAIN_S = 86400  # if the settings have no limit
FLUSH_S = 5  # for errors that end answers to reach their clients
IDLE_CHECK_S = 1.0  # also the shortest idle time: the client that started the server must connect


def run_server(
    settings: Settings,
    *,
    background: bool,
    insecure: bool = False,
    start: StartProcess | None = None,
    start_warm: Callable[[str], Warm | None] = lambda _: None,
) -> None:
    """Serve until shutdown; blocks, and must run in the main thread because of its signal handlers.

    Raises:
        AddressInUseError: another program listens on the address.
        UsageError: other machines can reach the address, the server has no API key, and
            ``insecure`` is false; or the machine does not have the device of the settings.
        StorageError: the API keys or the certificate cannot be read.
    """
    keys = read_keys(settings.access)
    if not settings.is_loopback and not keys and not insecure:
        raise UsageError(
            f"{settings.host} lets other machines use this server, and no API key is set",
            hint="export LOCALRUN_API_KEY=$(openssl rand -hex 32)   or --insecure",
        )
    tls = tls_options(settings)
    device = check_choice(settings.device, os.environ)
    with bind(settings) as listener, unix_listener(settings, listener) as unix:
        warm = _start_warm(settings, start_warm)
        warm_path = warm.path if warm else None
        start = start or functools.partial(start_runner, device=device, warm=warm_path)
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
            _serve(_ServerOptions(settings, keys, tls, background, warm_path, unix), pool, listener)
        finally:
            pool.close()
            if warm is not None:
                warm.close()
    _log.info("exited")


def bind(settings: Settings) -> socket.socket:
    """Return a listening socket on the address of the settings.

    Raises:
        AddressInUseError: another program listens on the address.
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


def _start_warm(settings: Settings, start: Callable[[str], Warm | None]) -> Warm | None:
    """Fork the warm process, before this process has threads; return None if it cannot be had."""
    path = socket_path(settings.address, WARM)
    return start(path) if path is not None else None


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which raise signals again before runners are closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, slots=True)
class _ServerOptions:
    """Options of one server process."""

    settings: Settings
    keys: Keys
    tls: TlsOptions
    background: bool
    warm: str | None  # the socket of the warm process
    unix: UnixListener | None


def _serve(options: _ServerOptions, pool: RunnerPool, listener: socket.socket) -> None:
    settings = options.settings
    shutdown = asyncio.Event()
    activity, metrics = Activity(), Metrics()
    workspace = Workspace(
        settings, os.environ, takes_paths=settings.is_loopback, explains_paths=False
    )
    app = create_app(
        pool,
        workspace.models,
        workspace,
        metrics=metrics,
        shut_down=shutdown.set,
        keys=options.keys,
        warm=options.warm,
    )
    config = _uvicorn_config(activity.watch(app), options)

    gc.freeze()  # imported modules: each full collection would scan them for some 30 ms

    async def serve() -> None:
        server = _Server(config)
        _handle_signals(server, shutdown, pool)
        watches = [
            _end_on(shutdown, server, pool, _drain_s(settings)),
            metrics.watch_loop(),
            LoadedNames(pool, workspace.models).watch_loop(),
        ]
        if options.unix is not None:
            watches.append(serve_unix(server, options.unix, shutdown))
        if options.background and settings.idle_exit_s is not None:
            watches.append(_end_when_idle(settings.idle_exit_s, activity, shutdown))
        tasks = [asyncio.create_task(watch) for watch in watches]
        scheme = "https" if options.tls else "http"
        _log.info("listening on %s://%s:%s", scheme, *listener.getsockname()[:2])
        await server.serve(sockets=[listener])
        for task in tasks:
            task.cancel()

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve())


def _uvicorn_config(app: ASGIApp, options: _ServerOptions) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=TimeoutProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=int(_drain_s(options.settings)) + FLUSH_S,
        server_header=False,
        **options.tls,
    )


def _report_devices(settings: Settings) -> None:
    """Log GPUs that are not used, in a thread while the server starts."""
    if settings.device != CPU:
        threading.Thread(
            target=report_unused, args=(dict(os.environ),), name="devices", daemon=True
        ).start()


def _drain_s(settings: Settings) -> float:
    return LONGEST_DRAIN_S if settings.drain_s is None else settings.drain_s


def _handle_signals(server: uvicorn.Server, shutdown: asyncio.Event, pool: RunnerPool) -> None:
    """Shut down on SIGINT, SIGTERM or SIGHUP; on a second signal, without waiting."""
    close_now = functools.partial(pool.close, is_hasty=True)

    def handle() -> None:
        if shutdown.is_set() and not server.force_exit:
            server.force_exit = True
            threading.Thread(target=close_now, name="close-now", daemon=True).start()
        shutdown.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            asyncio.get_running_loop().add_signal_handler(number, handle)


async def _end_on(
    shutdown: asyncio.Event, server: uvicorn.Server, pool: RunnerPool, drain_s: float
) -> None:
    await shutdown.wait()
    _log.info("shutting down")
    server.should_exit = True
    await asyncio.sleep(drain_s)  # cancelled if all requests end earlier
    await asyncio.to_thread(pool.close)


async def _end_when_idle(idle_exit_s: float, activity: Activity, shutdown: asyncio.Event) -> None:
    while activity.idle_s < max(idle_exit_s, IDLE_CHECK_S):  # noqa: ASYNC110 - time is the event
        await asyncio.sleep(IDLE_CHECK_S)
    _log.info("no request for %.0f s", idle_exit_s)
    shutdown.set()


def _set_up_logging(settings: Settings, *, background: bool) -> None:
    handler: logging.Handler = logging.StreamHandler()
    if background:
        handler = PrivateLog.in_folder(settings.log_dir)
    handler.setFormatter(HarmlessFormatter(LOG_FORMAT))
    handler.addFilter(RequestFilter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
