"""The warm process: one thread that has everything imported and forks a worker per connection.

It is forked by a server before that has threads, and belongs to it: it ends when its lifeline, a
socket to the server, is closed, after the workers that still run. It opens nothing but its own
socket (a fork must not share a GPU, an OpenMP region or a connection), and reads nothing: a
request is read by its worker (`localrun.warm.worker`), so that no client can hold it up.

    accepted connection   fork; the worker runs the command
    worker has ended      its exit code goes to the client
    client is gone        its worker is killed, and the modes of its terminal are restored
    code has changed      no more connections: new commands run the new code
"""

from __future__ import annotations

import contextlib
import gc
import logging
import mmap
import os
import select
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING

from localrun.allocator import release_free_memory
from localrun.sockets import is_private
from localrun.warm.protocol import EXITED, KILLED, reply
from localrun.warm.record import RECORD_BYTES, kill_mortal
from localrun.warm.title import set_title
from localrun.warm.worker import WarmState, rights, run_worker

if TYPE_CHECKING:
    from collections.abc import Callable

BACKLOG = 4096
FIRST_FD, MAX_FD = 3, 1 << 20  # after stdin, stdout and stderr
CREDENTIALS = struct.Struct("3i")  # process, user, group
HANG_UP = select.POLLHUP | getattr(select, "POLLRDHUP", 0x2000)
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # while numpy is imported, which else starts threads
_log = logging.getLogger(__name__)


class Warm:
    """A server's hold on its warm process: the path of its socket; `close` ends it."""

    def __init__(self, path: str, lifeline: socket.socket) -> None:
        self.path = path
        self._lifeline = lifeline

    def close(self) -> None:
        """Let the warm process end; commands that run go on."""
        self._lifeline.close()


def start_warm(
    path: str,
    run: Callable[[], int],
    prepare: Callable[[], None],
    environ: dict[str, str],
) -> Warm | None:
    """Fork the warm process; return None if this system or process cannot.

    ``prepare`` imports what workers need, with ``environ`` added to the environment; ``run`` runs
    the command line of `sys.argv` in a worker. Must be called while the process has one thread.
    """
    listener = _listen(path) if sys.platform == "linux" and _num_threads() == 1 else None
    if listener is None:
        return None
    server_end, warm_end = socket.socketpair()
    with warm_end, listener:
        sys.stdout.flush()
        sys.stderr.flush()
        release_free_memory()
        gc.freeze()  # a collection in one of the processes would copy all pages that they share
        if os.fork():
            return Warm(path, server_end)
        code = 1
        try:  # nothing of the server's stack may run in this process
            server_end.close()
            _serve(path, listener, warm_end, run, prepare, environ)
            code = 0
        except BaseException:  # noqa: BLE001 - the last frame of this process
            _log.exception("the warm process ends")
        finally:
            os._exit(code)


def _listen(path: str) -> socket.socket | None:
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
    return listener


def _num_threads() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def _serve(
    path: str,
    listener: socket.socket,
    lifeline: socket.socket,
    run: Callable[[], int],
    prepare: Callable[[], None],
    environ: dict[str, str],
) -> None:
    os.setsid()
    set_title(["localrun", "warm"])
    _detach(keep={listener.fileno(), lifeline.fileno()})
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # of the server's terminal
        signal.signal(number, signal.SIG_DFL)
    given = dict(os.environb)
    _prepare(prepare, environ)
    state = WarmState(run, given, rights("self"))
    loop = _Loop(path, listener, lifeline, state)
    if _num_threads() == 1:
        loop.run()
    loop.close()


def _detach(keep: set[int]) -> None:
    """Close what the server had open: above all its port, which would stay taken."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) >= FIRST_FD and int(name) not in keep:  # stderr is the server's log
            with contextlib.suppress(OSError):
                os.close(int(name))


def _prepare(prepare: Callable[[], None], environ: dict[str, str]) -> None:
    given = dict(os.environ)
    os.environ.update({**ONE_THREAD, **environ})
    prepare()
    os.environ.clear()
    os.environ.update(given)
    gc.collect()
    gc.freeze()
    release_free_memory()


class CodeOnDisk:
    """The files of the modules in memory, as they were when they had been imported."""

    def __init__(self) -> None:
        modules = [module for name, module in sys.modules.items() if name.startswith("localrun.")]
        paths = [module.__file__ for module in modules if module.__file__]
        self._identities = {path: _identity(path) for path in paths}

    def has_changed(self) -> bool:
        """Return whether one of the files has been replaced or written."""
        return any(_identity(path) != known for path, known in self._identities.items())


def _identity(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - speed
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class _Worker:
    """A forked worker, its connection, and what it records about its terminal."""

    def __init__(self, pid: int, connection: socket.socket, record: mmap.mmap) -> None:
        self.pid = pid
        self.connection = connection
        self.record = record
        self.pidfd = os.pidfd_open(pid)

    def end(self) -> None:
        """Report the worker's end to its client."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        with contextlib.suppress(OSError):
            message = reply(EXITED, code) if code >= 0 else reply(KILLED, -code)
            self.connection.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        self.connection.close()
        os.close(self.pidfd)
        self.record.close()

    def kill(self) -> None:
        """Kill a command whose client is gone, and restore the modes of its terminal."""
        kill_mortal(self.pid, self.record)


class _Loop:
    """Accepts connections, forks workers, and reports their ends."""

    def __init__(
        self,
        path: str,
        listener: socket.socket,
        lifeline: socket.socket,
        state: WarmState,
    ) -> None:
        self._path = path
        self._listener = listener
        self._lifeline = lifeline
        self._state = state
        self._code = CodeOnDisk()
        self._identity = os.stat(path).st_ino  # noqa: PTH116
        self._is_listening = True
        self._workers: dict[int, _Worker] = {}  # by connection and by pidfd
        self._poll = select.poll()
        listener.settimeout(0)
        self._poll.register(listener, select.POLLIN)
        self._poll.register(lifeline, select.POLLIN)

    def run(self) -> None:
        """Serve until the server has ended and no worker is left."""
        while self._is_listening or self._workers:
            for fd, event in self._poll.poll():
                if fd == self._listener.fileno():
                    self._accept()
                elif fd == self._lifeline.fileno():
                    self._poll.unregister(fd)
                    self.close()
                elif fd in self._workers:
                    self._attend(fd, event)

    def close(self) -> None:
        """Accept no more connections."""
        if self._is_listening:
            self._is_listening = False
            self._poll.unregister(self._listener)
            with contextlib.suppress(OSError):
                if os.stat(self._path).st_ino == self._identity:  # noqa: PTH116
                    os.unlink(self._path)  # noqa: PTH108
            self._listener.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # the client has gone, or no file descriptor is left
            return
        size = CREDENTIALS.size
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        if CREDENTIALS.unpack(peer)[1] != os.geteuid():
            connection.close()
            return
        if self._code.has_changed():  # new commands run the new code
            connection.close()
            self.close()
            return
        record = mmap.mmap(-1, RECORD_BYTES)
        try:
            pid = os.fork()
        except OSError:  # the client runs the command itself
            connection.close()
            return
        if not pid:
            self._become_worker(connection, record)
        self._add(_Worker(pid, connection, record))

    def _become_worker(self, connection: socket.socket, record: mmap.mmap) -> None:
        """Run in the fork; what is open for others is closed without their objects."""
        try:
            os.closerange(FIRST_FD, connection.fileno())
            os.closerange(connection.fileno() + 1, MAX_FD)
            run_worker(connection, record, self._state)
        except Exception:  # noqa: BLE001 - the last frame of this process
            _log.exception("a worker ended")
        finally:
            os._exit(1)

    def _add(self, worker: _Worker) -> None:
        self._workers[worker.pidfd] = self._workers[worker.connection.fileno()] = worker
        self._poll.register(worker.pidfd, select.POLLIN)
        self._poll.register(worker.connection, HANG_UP)

    def _attend(self, fd: int, _event: int) -> None:
        worker = self._workers[fd]
        if fd != worker.pidfd:
            self._poll.unregister(fd)
            worker.kill()
            return
        for each in (worker.pidfd, worker.connection.fileno()):
            del self._workers[each]
            with contextlib.suppress(KeyError):
                self._poll.unregister(each)
        worker.end()
