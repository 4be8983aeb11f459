"""Run the server: bind, log, serve, leave.

    foreground   logs to stderr, ends on Ctrl-C or SIGTERM
    background   logs to ``server.log``, also leaves when nothing has used it for a while

The socket is bound before anything slow is imported or started, so that of two
servers that start together one is told at once.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import logging.handlers
import socket
from typing import TYPE_CHECKING

import uvicorn

from localrun.errors import AddressInUseError, NetworkError, UsageError
from localrun.server.app import create_app
from localrun.services import models
from localrun.supervisor.pool import RunnerPool

if TYPE_CHECKING:
    from localrun.settings import Settings

_log = logging.getLogger(__name__)

LOG_FILE = "server.log"
LOG_BYTES = 5 * 1024 * 1024
KEPT_LOGS = 3
BACKLOG = 2048
DRAIN_S = 10
IDLE_CHECK_S = 1.0


def run_server(settings: Settings, *, background: bool, insecure: bool = False) -> None:
    """Serve until told to leave; blocks.

    Raises:
        AddressInUseError: another program has the address.
        UsageError: the address is open to others and ``insecure`` was not said.
    """
    if not settings.is_loopback and not insecure:
        raise UsageError(
            f"{settings.host} lets other machines use this server, and it asks for no key",
            hint="localrun serve --insecure   if that is what you want",
        )
    with bind(settings) as listener:
        _set_up_logging(settings, background=background)
        pool = RunnerPool(keep_alive_s=settings.keep_alive_s)
        try:
            asyncio.run(_serve(settings, pool, listener, background=background))
        finally:
            pool.close()


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
                hint="localrun stop --server   or, if it is not localrun, LOCALRUN_HOST=127.0.0.1:11500",
            ) from error
        raise NetworkError(f"cannot listen on {settings.address}: {error.strerror}") from error


async def _serve(
    settings: Settings, pool: RunnerPool, listener: socket.socket, *, background: bool
) -> None:
    leave = asyncio.Event()
    app = create_app(pool, models, is_loopback=settings.is_loopback, shut_down=leave.set)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=DRAIN_S,
            server_header=False,
        )
    )
    _log.info("listening on http://%s:%s", *listener.getsockname()[:2])
    watchers = [asyncio.create_task(_leave_when_told(leave, server))]
    if background and settings.idle_exit_s is not None:
        watchers.append(asyncio.create_task(_leave_when_idle(settings.idle_exit_s, pool, leave)))
    await server.serve(sockets=[listener])
    for watcher in watchers:
        watcher.cancel()
    _log.info("left")


async def _leave_when_told(leave: asyncio.Event, server: uvicorn.Server) -> None:
    await leave.wait()
    server.should_exit = True


async def _leave_when_idle(idle_exit_s: float, pool: RunnerPool, leave: asyncio.Event) -> None:
    while pool.idle_s < idle_exit_s:  # noqa: ASYNC110 - time itself is what is waited for
        await asyncio.sleep(min(IDLE_CHECK_S, idle_exit_s))
    _log.info("nobody has used this server for %.0f s", idle_exit_s)
    leave.set()


def _set_up_logging(settings: Settings, *, background: bool) -> None:
    handler: logging.Handler = logging.StreamHandler()
    if background:
        settings.log_dir.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            settings.log_dir / LOG_FILE, maxBytes=LOG_BYTES, backupCount=KEPT_LOGS
        )
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
