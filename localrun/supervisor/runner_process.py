"""Child process of a runner: its start, the end of its log, and the reason why it ended.

Owns the process and the server's end of its connection; knows nothing of messages. A runner leaves
when the connection is closed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import LoadError
from localrun.program import RUNNER_ENVIRONMENT
from localrun.sockets import has_tcp_only
from localrun.supervisor.runner_port import RunnerPort
from localrun.system.processes import signal_name
from localrun.warm.child import start_child, start_invited

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.warm.child import Child

    StartProcess = Callable[[], "StartedRunner"]

MAX_LOG_LINES = 20
MAX_REASON_LINES = 3  # of these, in an error
FAULTS = frozenset(  # signals by which a process ends itself
    getattr(signal, name)
    for name in ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV")
    if hasattr(signal, name)
)
ABORT_CODES = frozenset({3, 0xC0000005, 0xC0000409})  # the same on Windows
LOG_TIMEOUT_S = 3.0  # a grandchild may keep the pipe open
LEVELS = {"DEBUG": logging.DEBUG, "INFO": logging.INFO}  # first word of a line
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StartedRunner:
    """A started process, and what returns the server's end of its connection.

    ``connect`` blocks until the process has connected. It is called with a function that reports
    whether the process has ended.
    """

    process: Child
    connect: Callable[[Callable[[], bool]], socket.socket]


def start_runner(device: str = "auto", warm: str | None = None) -> StartedRunner:
    """Start a runner; its stderr is a pipe.

    ``device`` gets the layers if the `Load` message names no devices. ``warm`` is the socket of
    the warm process that forks it, if there is one.

    Raises:
        LoadError: the system has no process or memory left for it.
    """
    environ = {**os.environ, **RUNNER_ENVIRONMENT}
    arguments = ["runner", "--device", device]
    try:
        if has_tcp_only():
            return _start_invited(arguments, environ)
        return start_with_pair(lambda end: start_child(arguments, environ, warm=warm, link=end))
    except OSError as error:
        raise LoadError(f"a runner cannot be started: {error.strerror}") from error


def start_with_pair(start: Callable[[socket.socket], Child]) -> StartedRunner:
    """Start a runner that inherits one end of a socket pair."""
    own, child_end = socket.socketpair()
    try:
        with child_end:
            return StartedRunner(start(child_end), lambda _: own)
    except BaseException:
        own.close()
        raise


def _start_invited(arguments: list[str], environ: Mapping[str, str]) -> StartedRunner:
    """Start a runner that connects to a port of the loopback."""
    port = RunnerPort()
    try:
        return StartedRunner(start_invited(arguments, environ, port.invitation.line()), port.accept)
    except BaseException:
        port.close()
        raise


class RunnerProcess:
    """A started runner; ``socket`` is the server's end of the connection."""

    def __init__(self, start: StartProcess) -> None:
        started = start()
        self._process = started.process
        self._kill_reason: str | None = None
        self._last_lines: deque[str] = deque(maxlen=MAX_LOG_LINES)
        self._log_thread = threading.Thread(target=self._read_log, name="runner-log", daemon=True)
        self._log_thread.start()
        try:
            self.socket = started.connect(lambda: self._process.poll() is not None)
        except OSError as error:
            self.wait(grace_s=0.0)
            raise LoadError(f"a runner did not start: {error}: {self.exit_reason()}") from error

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def kill(self, reason: str | None = None) -> None:
        """Kill the process; ``reason`` replaces the exit code in `exit_reason`."""
        self._kill_reason = reason or self._kill_reason
        self._process.kill()

    def wait(self, grace_s: float) -> None:
        """Block until the process has ended and its log is read; kill it after ``grace_s``."""
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # of the invitation, which nobody has read
                self._process.stdin.close()
        self._log_thread.join(LOG_TIMEOUT_S)

    @property
    def has_aborted(self) -> bool:
        """Return whether the process ended by a fault of its own: an abort or a wrong access."""
        code = self._process.poll()
        if self._kill_reason is not None or not code:
            return False
        return -code in FAULTS if code < 0 else code in ABORT_CODES

    def exit_reason(self) -> str:
        """Return how the process ended, with the last lines of its log."""
        if self._kill_reason is not None:
            return self._kill_reason
        code = self._process.poll()
        reason = f"exit code {code}"
        if code is not None and code < 0:
            reason = f"killed by {signal_name(-code)}"
        lines = [line for line in self._last_lines if line and not _is_traceback(line)]
        if not lines:
            return reason
        return f"{reason}: {' / '.join(lines[-MAX_REASON_LINES:])}"

    def _read_log(self) -> None:
        if self._process.stderr is None:
            return
        with self._process.stderr as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                level = LEVELS.get(text.partition(" ")[0], logging.WARNING)
                if level >= logging.WARNING:  # others would hide the reason of an end
                    self._last_lines.append(text)
                _log.log(level, "runner: %s", text)


def _is_traceback(line: str) -> bool:
    """Return whether a line of a log is part of a traceback of Python, which helps no client."""
    return line.startswith((" ", "Traceback "))
