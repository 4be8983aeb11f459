"""Loop of the warm process: accepts connections, forks workers, and reports their ends.

accepted connection   fork; the worker runs the command
worker has ended      its exit code goes to the client
client is gone        its worker is killed, and the modes of its terminal are restored
code has changed      no more connections: new commands run the new code
server has ended      no more connections; ends after the workers that still run
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import contextlib
import logging
import mmap
import os
import resource
import select
import signal
import socket
from typing import TYPE_CHECKING, NamedTuple

from localrun.sockets import peer_of
from localrun.warm.code import CodeOnDisk, file_identity
from localrun.warm.protocol import EXITED, KILLED, RUNNER, reply
from localrun.warm.record import RECORD_BYTES, is_runner, kill_mortal, restore_terminal
from localrun.warm.worker import close_range, run_worker

if TYPE_CHECKING:
    from localrun.warm.preparation import ImportSteps
    from localrun.warm.worker import WarmState

STDERR = 2
SPARE_FILES = 16  # besides two for each worker
QUIET_S = 0.25  # before a step of the preparation: a first command has the processors
EARLY_FORKS = 2  # before all is imported that commands need: the first runner and another
RETRY_S = 1.0  # if the system has no process or file left
HANG_UP = select.POLLHUP | getattr(select, "POLLRDHUP", 0x2000)
_log = logging.getLogger(__name__)


class Listener(NamedTuple):
    """The warm process's socket, its path, and the identity of the file at that path."""

    path: str
    socket: socket.socket
    identity: tuple[int, int, int] | None

    def unlink(self) -> None:
        """Remove the file, unless another server's has taken its place."""
        if file_identity(self.path) == self.identity:
            with contextlib.suppress(OSError):
                os.unlink(self.path)  # noqa: PTH108


class _Worker:
    """A forked worker, its connection, and what it records about its terminal."""

    def __init__(self, pid: int, connection: socket.socket, record: mmap.mmap) -> None:
        self.pid = pid
        self.connection = connection
        self.record = record
        self.pidfd = os.pidfd_open(pid)

    @property
    def kind(self) -> str | None:
        """Return `RUNNER` if the worker has become one."""
        return RUNNER if is_runner(self.record) else None

    def end(self) -> None:
        """Report the worker's end to its client."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        message = reply(EXITED, code) if code >= 0 else reply(KILLED, -code)
        try:
            self.connection.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:  # the client is gone
            if code < 0:
                restore_terminal(self.record)
        self.connection.close()
        os.close(self.pidfd)
        self.record.close()

    def kill(self) -> None:
        """Kill a command whose client is gone, and restore the modes of its terminal."""
        kill_mortal(self.pid, self.record)


class Loop:
    """Accepts connections, forks workers, and reports their ends."""

    def __init__(
        self,
        listener: Listener,
        lifeline: socket.socket,
        state: WarmState,
        preparation: ImportSteps,
    ) -> None:
        self._preparation = preparation
        self._listener = listener
        self._lifeline = lifeline
        self._state = state
        self._code = CodeOnDisk()
        self._is_listening = True
        self._num_forks = 0
        self._may_be_due = True  # whether a step of the preparation is due
        self._workers: dict[int, _Worker] = {}  # by connection and by pidfd
        self._max_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES
        self._poll = select.poll()
        listener.socket.settimeout(0)
        self._poll.register(listener.socket, select.POLLIN)
        self._poll.register(lifeline, select.POLLIN)

    def run(self) -> None:
        """Serve until the server has ended and no worker is left."""
        retry_s: float | None = None
        while self._has_work():
            timeout_s = QUIET_S if self._may_be_due else retry_s
            events = self._poll.poll(None if timeout_s is None else timeout_s * 1000)
            if not events and self._may_be_due:
                self._prepare()
            retry_s = None
            ready = {fd for fd, _ in events}
            for fd in ready & self._workers.keys():
                self._attend(fd)
            if self._lifeline.fileno() in ready:
                self._poll.unregister(self._lifeline)
                self.close()
            if self._is_listening:  # last: a new connection may get the number of a closed one
                retry_s = self._listen(is_ready=self._listener.socket.fileno() in ready)

    def _prepare(self) -> None:
        """Run the next step, if it is due."""
        awaited = self._preparation.awaited
        is_due = awaited is None or any(worker.kind == awaited for worker in self._workers.values())
        if is_due and not self._preparation.is_complete:
            self._preparation.run_step()
            self._code.add_imported()
        self._may_be_due = is_due and not self._preparation.is_complete

    def _has_work(self) -> bool:
        """Return whether a server or a worker is left; a process with threads forks no more."""
        if self._is_listening and num_threads() > 1:
            self.close()
        return self._is_listening or bool(self._workers)

    def _listen(self, *, is_ready: bool) -> float | None:
        """Accept a connection; return when to look again if the system has nothing left."""
        has_room = not is_ready or self._accept()
        if self._is_listening:
            is_open = has_room and len(self._workers) < self._max_files
            self._poll.modify(self._listener.socket, select.POLLIN if is_open else 0)
        return None if has_room else RETRY_S

    def close(self) -> None:
        """Accept no more connections, and leave the server's log."""
        if self._is_listening:
            self._is_listening = False
            self._poll.unregister(self._listener.socket)
            self._listener.unlink()
            self._listener.socket.close()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, STDERR)
            os.close(null)

    def _accept(self) -> bool:
        """Fork a worker for a connection; return False if the system has nothing left."""
        try:
            connection, _ = self._listener.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the client has gone
            return True
        except OSError:
            return False
        with contextlib.ExitStack() as refused:
            refused.enter_context(connection)
            if peer_of(connection)[1] != os.geteuid():
                return True
            if self._code.has_changed():  # new commands run the new code
                self.close()
                return True
            if (worker := self._fork(connection)) is None:  # the client runs the command itself
                return False
            refused.pop_all()
            self._add(worker)
        return True

    def _fork(self, connection: socket.socket) -> _Worker | None:
        """Return a worker for a connection, None if the system has nothing left for it."""
        while self._num_forks >= EARLY_FORKS and self._preparation.is_due_at_once:
            self._prepare()
        self._num_forks += 1
        self._may_be_due = not self._preparation.is_complete
        try:
            record = mmap.mmap(-1, RECORD_BYTES)
            pid = os.fork()
        except OSError:
            return None
        if not pid:
            self._become_worker(connection, record)
        try:
            return _Worker(pid, connection, record)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None

    def _become_worker(self, connection: socket.socket, record: mmap.mmap) -> None:
        """Run in the fork; what is open for others is closed without their objects."""
        try:
            close_range(STDERR + 1, keep={connection.fileno()})
            run_worker(connection, record, self._state)
        except Exception:  # noqa: BLE001 - the last frame of this process
            _log.exception("a worker ended")
        finally:
            os._exit(1)

    def _add(self, worker: _Worker) -> None:
        self._workers[worker.pidfd] = self._workers[worker.connection.fileno()] = worker
        self._poll.register(worker.pidfd, select.POLLIN)
        self._poll.register(worker.connection, HANG_UP)

    def _attend(self, fd: int) -> None:
        worker = self._workers.get(fd)
        if worker is None:  # its end was attended to just now
            return
        if fd != worker.pidfd:
            self._poll.unregister(fd)
            worker.kill()
            return
        for each in (worker.pidfd, worker.connection.fileno()):
            del self._workers[each]
            with contextlib.suppress(KeyError):
                self._poll.unregister(each)
        worker.end()


def num_threads() -> int:
    """Return the number of threads of this process."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - nothing of pathlib is needed
