"""Runner pool that is created at its first use: a server answers its first requests without it.

Invariant: at most one pool is created, and none is left open after `close`.
"""

from __future__ import annotations

import functools
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.services.models import Models
    from localrun.settings import Settings
    from localrun.supervisor.draft_choice import Drafts
    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.runner_process import StartProcess


class DeferredPool:
    """The pool of one server; safe from any thread."""

    def __init__(self, create: Callable[[], RunnerPool]) -> None:
        self._create = create
        self._lock = threading.Lock()  # held while the pool is created
        self._pool: RunnerPool | None = None
        self._is_closing = False

    @property
    def is_closing(self) -> bool:
        """Return whether requests are refused because the server ends."""
        return self._is_closing or (self._pool is not None and self._pool.is_closing)

    def open(self) -> RunnerPool:
        """Return the pool; the first call imports and creates it, which blocks."""
        if self._pool is not None:
            return self._pool
        with self._lock:
            if self._pool is None:
                self._pool = self._create()
            if self._is_closing:
                self._pool.close()
            return self._pool

    def close(self, *, is_hasty: bool = False) -> None:
        """End all runners, also while they load; open requests fail."""
        self._is_closing = True
        with self._lock:
            pool = self._pool
        if pool is not None:
            pool.close(is_hasty=is_hasty)


def create_pool(
    settings: Settings,
    models: Models,
    *,
    drafts: Drafts,
    device: str,
    start: StartProcess | None,
    warm: str | None,
) -> RunnerPool:
    """Return the runner pool of the settings, with a watch on the names of its models.

    ``drafts`` chooses the draft model of each load, ``start`` replaces the start of runners;
    ``warm`` is the socket of the warm process.
    """
    from localrun.server.core.loaded_names import LoadedNames
    from localrun.supervisor.devices import ChosenDevices
    from localrun.supervisor.memory_history import MemoryHistory
    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.runner_process import start_runner
    from localrun.supervisor.worker_offers import ServerWorkers
    from localrun.workers.command import parse_commands

    devices = ChosenDevices(device, os.environ, most_bytes=settings.memory_bytes)
    pool = RunnerPool(
        keep_alive_s=settings.keep_alive_s,
        start=start or functools.partial(start_runner, device=device, warm=warm),
        devices=devices,
        invalidate_devices=devices.invalidate,
        memory_history=MemoryHistory(settings.needs_file),
        max_waiting=settings.max_queue,
        rules=settings.loads,
        workers=ServerWorkers(parse_commands(settings.workers)),
        drafts=drafts,
    )
    LoadedNames(pool, models).start_watch()
    return pool
