"""Server process from its listening socket on: serve, shut down.

    foreground   logs to stderr, ends on Ctrl-C or SIGTERM
    background   logs to ``server.log``, also ends after an idle time

Shutdown: new requests are refused; open answers have `LOCALRUN_DRAIN` to finish, then they end
with an error; then the runners exit, and the process last. A second signal shuts down at once.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uvicorn.config import Config

from localrun.allocator import release_free_memory, use_one_arena
from localrun.hardware.choice import CPU
from localrun.server.app import create_app
from localrun.server.core.metrics import Metrics
from localrun.server.listening.http_server import HttpServer
from localrun.server.listening.unix_protocol import serve_unix
from localrun.server.middleware.activity import Activity
from localrun.server.middleware.timeouts import TimeoutProtocol
from localrun.server.routing.parts import Parts
from localrun.services.machine.devices import report_unused
from localrun.system.processes import call_on_signal, shutdown_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from localrun.server.core.deferred_pool import DeferredPool
    from localrun.server.core.preload import Preload
    from localrun.server.listening.tls import TlsOptions
    from localrun.server.listening.unix_socket import UnixListener
    from localrun.server.middleware.keys import Keys
    from localrun.services.workspace import Workspace
    from localrun.settings import Settings

_log = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.0005  # how long the event loop may wait for the GIL behind a thread
LONGEST_DRAIN_S = 86400  # if the settings have no limit
FLUSH_S = 5  # for errors that end answers to reach their clients
RELEASE_S = 10.0  # without a request, before freed memory is returned
REPORT_AFTER_S = 0.5  # the first requests come first
MIN_IDLE_S = 1.0  # the client that started the server must connect


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Options of one server process."""

    settings: Settings
    keys: Keys
    tls: TlsOptions
    background: bool
    warm: str | None  # the socket of the warm process
    unix: UnixListener | None
    notify: Callable[[str], None] = lambda _: None  # of a service manager
    preload: Preload | None = None


def serve(
    options: ServerOptions, workspace: Workspace, pool: DeferredPool, listener: socket.socket
) -> None:
    """Serve on a listening socket until shutdown, which closes the pool."""
    use_one_arena()
    try:
        _serve(options, _parts(options, workspace, pool), listener)
    finally:
        pool.close()
    _log.info("exited")


def _parts(options: ServerOptions, workspace: Workspace, pool: DeferredPool) -> Parts:
    return Parts(pool, workspace, Metrics(), warm=options.warm, preload=options.preload)


def _serve(options: ServerOptions, parts: Parts, listener: socket.socket) -> None:
    settings, pool = options.settings, parts.deferred_pool
    shutdown = asyncio.Event()
    activity = parts.activity
    app = create_app(parts, shut_down=shutdown.set, keys=options.keys)
    config = _uvicorn_config(activity.watch(app), options)

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()  # imported modules: each full collection would scan them for some 30 ms

    async def serve() -> None:
        server = HttpServer(config, shutdown)
        _handle_signals(server, shutdown, pool)
        watches = [
            _end_on(shutdown, parts, _drain_s(settings)),
            parts.metrics.watch_loop(),
            _release_memory(activity),
        ]
        if options.unix is not None:
            watches.append(serve_unix(server, options.unix, shutdown))
        if options.background and settings.idle_exit_s is not None:
            watches.append(_end_when_idle(settings.idle_exit_s, activity, shutdown))
        tasks = [asyncio.create_task(watch) for watch in watches]
        asyncio.get_running_loop().call_later(
            REPORT_AFTER_S, _report_devices, settings, not options.background
        )
        scheme = "https" if options.tls else "http"
        _log.info("listening on %s://%s:%s", scheme, *listener.getsockname()[:2])
        options.notify("READY=1")
        await server.serve(sockets=[listener])
        options.notify("STOPPING=1")
        for task in tasks:
            task.cancel()

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve())


def _uvicorn_config(app: ASGIApp, options: ServerOptions) -> Config:
    return Config(
        app,
        http=TimeoutProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=int(_drain_s(options.settings)) + FLUSH_S,
        server_header=False,
        **options.tls,
    )


def _report_devices(settings: Settings, names_variant: bool) -> None:  # noqa: FBT001 - call_later
    """Log what computes, and GPUs that are not used, in a thread."""
    if settings.device != CPU or names_variant:
        report = functools.partial(
            report_unused, dict(os.environ), device=settings.device, names_variant=names_variant
        )
        threading.Thread(target=report, name="devices", daemon=True).start()


def _drain_s(settings: Settings) -> float:
    return LONGEST_DRAIN_S if settings.drain_s is None else settings.drain_s


def _handle_signals(server: HttpServer, shutdown: asyncio.Event, pool: DeferredPool) -> None:
    """Shut down on SIGINT, SIGTERM or SIGHUP; on a second signal, without waiting."""
    close_now = functools.partial(pool.close, is_hasty=True)

    def handle() -> None:
        if shutdown.is_set() and not server.force_exit:
            server.force_exit = True
            threading.Thread(target=close_now, name="close-now", daemon=True).start()
        shutdown.set()

    loop = asyncio.get_running_loop()
    for number in shutdown_signals():
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            call_on_signal(loop, number, handle)


async def _end_on(shutdown: asyncio.Event, parts: Parts, drain_s: float) -> None:
    await shutdown.wait()
    _log.info("shutting down")
    await asyncio.sleep(drain_s)  # cancelled if all requests end earlier
    await parts.close_remotes()
    await asyncio.to_thread(parts.deferred_pool.close)


async def _end_when_idle(idle_exit_s: float, activity: Activity, shutdown: asyncio.Event) -> None:
    await activity.wait_until_idle(max(idle_exit_s, MIN_IDLE_S))
    _log.info("no request for %.0f s", idle_exit_s)
    shutdown.set()


async def _release_memory(activity: Activity) -> None:
    """Return freed memory to the system some seconds after the last request, until cancelled."""
    while True:
        await activity.wait_until_idle(RELEASE_S)
        num_requests = activity.num_requests
        gc.collect()  # requests that failed may be kept by the cycles of their exceptions
        await asyncio.to_thread(release_free_memory)
        await activity.wait_for_request(num_requests)
