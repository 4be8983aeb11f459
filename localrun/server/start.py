"""Start of the server process: checks of its settings, then the address, then everything else.

The address is bound, or its socket taken from a service manager, before asyncio, uvicorn and the
application are imported, so that clients can connect at once; the system keeps their connections
until the server accepts them. Until then the process has one thread and no event loop, so that it
can fork the warm process.
"""

from __future__ import annotations

import errno
import importlib
import os
import socket
import sys
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from localrun.errors import AddressInUseError, NetworkError, UsageError
from localrun.hardware.choice import AUTO, CPU, check_device
from localrun.server.core.deferred_pool import DeferredPool, create_pool
from localrun.server.core.early_load import begin_early_load
from localrun.server.listening.activation import take_activation
from localrun.server.listening.tls import tls_options
from localrun.server.listening.unix_socket import unix_listener
from localrun.server.middleware.keys import read_keys
from localrun.services.workspace import Workspace
from localrun.sockets import WARM, socket_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.server.core.early_load import EarlyLoad
    from localrun.settings import Settings
    from localrun.supervisor.runner_process import StartProcess
    from localrun.warm.lifeline import Warm

BACKLOG = 2048


def run_server(
    settings: Settings,
    *,
    background: bool,
    insecure: bool = False,
    start: StartProcess | None = None,
    start_warm: Callable[[str], Warm | None] = lambda _: None,
    early: EarlyLoad | None = None,
) -> None:
    """Serve until shutdown; blocks, and must run in the main thread because of its signal handlers.

    ``start`` replaces the start of runners. ``start_warm`` forks the warm process that listens at
    a path, once clients can connect to the server. ``early`` is loaded meanwhile; if it
    is kept, the server is not ready before.

    Raises:
        AddressInUseError: another program listens on the address.
        UsageError: other machines can reach the address, the server has no API key, and
            ``insecure`` is false; or the machine does not have the device of the settings.
        BackendError: the settings name workers, and llama.cpp cannot use any.
        StorageError: the API keys or the certificate cannot be read.
        LocalrunError: there is no model to keep, or it cannot be loaded.
    """
    activation = take_activation(os.environ)
    settings = _at_address_of(activation.listener, settings)
    keys = read_keys(settings.access)
    if not settings.is_loopback and not keys and not insecure:
        raise UsageError(
            f"{settings.host} lets other machines use this server, and no API key is set",
            hint="export LOCALRUN_API_KEY=$(openssl rand -hex 32)   or --insecure",
        )
    tls = tls_options(settings)
    device = _checked_device(settings)
    _check_workers(settings)
    with (
        activation.listener or bind(settings) as listener,
        unix_listener(settings, listener) as unix,
    ):
        warm = _start_warm(settings, start_warm)
        warm_path = warm.path if warm else None
        from localrun.server.log_file import set_up_logging  # after the fork: imports asyncio

        set_up_logging(settings, background=background)
        workspace = Workspace(
            settings, os.environ, takes_paths=settings.is_loopback, explains_paths=False
        )
        create = partial(create_pool, device=device, start=start, warm=warm_path)
        pool = DeferredPool(
            lambda: create(settings, workspace.models, drafts=workspace.drafts.choose)
        )
        preload = None
        if early is not None and early.is_kept:
            from localrun.server.core.preload import Preload  # imports messages of runners

            preload = Preload(workspace.models.find_model(early.name))
            preload.begin(pool.open)
        elif early is not None:
            begin_early_load(
                early,
                pool.open,
                workspace.models.find_model,
                workspace.drafts.with_draft if early.draft is not None else None,
            )
        _import_uvicorn()
        from localrun.server.run import ServerOptions, serve

        options = ServerOptions(
            settings, keys, tls, background, warm_path, unix, activation.notify, preload
        )
        try:
            serve(options, workspace, pool, listener)
        finally:
            if warm is not None:
                warm.close()


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


def _at_address_of(listener: socket.socket | None, settings: Settings) -> Settings:
    """Return the settings with the address on which the service manager listens, if it does."""
    if listener is None:
        return settings
    host, port = listener.getsockname()[:2]
    return replace(settings, host=host, port=port)


def _check_workers(settings: Settings) -> None:
    if settings.workers:
        from localrun.services.machine.workers import check_workers

        check_workers(settings.workers)


def _checked_device(settings: Settings) -> str:
    """Return the device of the settings.

    Raises:
        UsageError: it is no device, or the machine does not have it.
    """
    device = check_device(settings.device)
    if device in {AUTO, CPU}:
        return device
    from localrun.services.machine.devices import check_choice  # imports what probes the machine

    return check_choice(device, os.environ)


def _start_warm(settings: Settings, start: Callable[[str], Warm | None]) -> Warm | None:
    """Fork the warm process, before this process has threads; return None if it cannot be had."""
    path = socket_path(settings.address, WARM)
    return start(path) if path is not None else None


def _import_uvicorn() -> None:
    """Import uvicorn without its command line, which takes longer than the rest of it."""
    name = "uvicorn.main"
    if "uvicorn" in sys.modules:
        return
    command_line = ModuleType(name)
    command_line.__getattr__ = lambda _: None  # type: ignore[method-assign] # PEP 562
    sys.modules[name] = command_line
    try:
        importlib.import_module("uvicorn")
    finally:
        del sys.modules[name]
