"""The warm process: one thread that has everything imported and forks a worker per connection.

It is forked by a server before that has threads, and belongs to it: it ends when its lifeline, a
socket to the server, is closed, after the workers that still run. It opens nothing but its own
socket (a fork must not share a GPU, an OpenMP region or a connection), and reads nothing: a
request is read by its worker (`localrun.warm.worker`), so that no client can hold it up.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import contextlib
import gc
import logging
import os
import resource
import signal
import socket
from typing import TYPE_CHECKING

from localrun.allocator import release_free_memory
from localrun.sockets import is_private
from localrun.warm.code import file_identity
from localrun.warm.lifeline import Warm
from localrun.warm.loop import STDERR, Listener, Loop, num_threads
from localrun.warm.peer import rights
from localrun.warm.preparation import ImportSteps
from localrun.warm.title import set_title
from localrun.warm.worker import WarmState, close_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BACKLOG = 4096
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # while numpy is imported, which else starts threads
_log = logging.getLogger(__name__)


def start_warm(
    path: str,
    run: Callable[[], int],
    prepare: Callable[[], Iterator[str | None]],
    environ: dict[str, str],
) -> Warm | None:
    """Fork the warm process; return None if this process cannot.

    ``prepare`` imports what workers need, with ``environ`` added to the environment (see
    `ImportSteps`); before its first yield, what runners need first. ``run`` runs the command line
    of `sys.argv` in a worker. Must be called while the process has one thread.
    """
    listener = _listen(path) if num_threads() == 1 else None
    if listener is None:
        return None
    server_end, warm_end = socket.socketpair()
    with warm_end, listener.socket:
        sys.stdout.flush()
        sys.stderr.flush()
        release_free_memory()
        gc.freeze()  # a collection in one of the processes would copy all pages that they share
        if os.fork():
            return Warm(path, server_end)
        code = 1
        try:  # nothing of the server's stack may run in this process
            server_end.close()
            _serve(listener, warm_end, run, prepare, environ)
            code = 0
        except KeyboardInterrupt:  # of the server's terminal, before this process has left it
            listener.unlink()
        except BaseException:  # noqa: BLE001 - the last frame of this process
            _log.exception("the warm process ends")
            listener.unlink()
        finally:
            os._exit(code)


def _listen(path: str) -> Listener | None:
    """Return a listening socket at ``path``, in place of one that a dead server left."""
    folder = os.path.dirname(path)  # noqa: PTH120 - nothing of pathlib is needed
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
        if not is_private(folder):
            return None
        listener = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108
        old = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(old)
        listener.listen(BACKLOG)
    except OSError:
        return None
    return Listener(path, listener, file_identity(path))


def _serve(
    listener: Listener,
    lifeline: socket.socket,
    run: Callable[[], int],
    prepare: Callable[[], Iterator[str | None]],
    environ: dict[str, str],
) -> None:
    os.setsid()
    set_title(["localrun", "warm"])
    _detach(keep={listener.socket.fileno(), lifeline.fileno()})
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # of the server's terminal
        signal.signal(number, signal.SIG_DFL)
    given = dict(os.environb)
    preparation = ImportSteps(prepare(), {**ONE_THREAD, **environ})
    preparation.run_step()
    open_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files[1], open_files[1]))
    state = WarmState(run, given, rights("self"), open_files)
    loop = Loop(listener, lifeline, state, preparation)
    loop.run()
    loop.close()


def _detach(keep: set[int]) -> None:
    """Close what the server had open: above all its port, which would stay taken."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    close_range(STDERR + 1, keep)  # stderr is the server's log
