"""Children of a server that its warm process forks; on Linux.

The other side of `localrun.warm.loop`. Nothing else of this package is needed to start a child.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
from typing import IO, TYPE_CHECKING

from localrun.warm.protocol import (
    ACCEPTED,
    EXITED,
    EXTRA_FD,
    GO,
    HEAD_BYTES,
    HELLO,
    JOB,
    MAX_FILES,
    REPLY_BYTES,
    RUNNER,
    Request,
    locale_of_python,
    parse_reply,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPLY_TIMEOUT_S = 10.0  # the warm process may still be importing
STATUS_TIMEOUT_S = 5.0  # between the end of a process and the report of its status
UNKNOWN_STATUS = 1  # if the warm process ended before
STDERR = 2
PRIVATE_UMASK = 0o077


def fork_child(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    warm: str,
    link: socket.socket | None,
) -> ForkedChild | None:
    """Return a child of the warm process, None if it refuses.

    Raises:
        OSError: it does not listen, or ended meanwhile.
    """
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        folder = os.open(".", os.O_PATH | os.O_DIRECTORY)
        theirs.callback(os.close, folder)
        null = theirs.enter_context(open(os.devnull, "r+b", buffering=0))  # noqa: PTH123
        reader, writer = _pipe(ours, theirs)
        stdin: IO[bytes] | None = None
        files = [folder, null.fileno(), null.fileno(), writer.fileno()]
        if link is None:
            child_stdin, stdin = _pipe(theirs, ours)
            files = [folder, child_stdin.fileno(), writer.fileno(), STDERR]
        else:
            files.append(link.fileno())
        connection = ours.enter_context(socket.socket(socket.AF_UNIX))
        connection.settimeout(REPLY_TIMEOUT_S)
        connection.connect(warm)
        pid = _submit(connection, arguments, environ, files)
        if pid is None:
            return None
        child = ForkedChild(pid, connection)
        child.stdin, child.stdout, child.stderr = stdin, reader, None
        if link is not None:
            child.stdout, child.stderr = None, reader
        connection.sendall(GO)
        ours.pop_all()
        return child


def _pipe(
    reading: contextlib.ExitStack, writing: contextlib.ExitStack
) -> tuple[IO[bytes], IO[bytes]]:
    """Return the two ends of a pipe; each is closed by the owner of its end."""
    reader, writer = os.pipe()
    return (
        reading.enter_context(os.fdopen(reader, "rb")),
        writing.enter_context(os.fdopen(writer, "wb")),
    )


def _submit(
    connection: socket.socket,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    files: Sequence[int],
) -> int | None:
    """Send a request; return the process id of the worker, None if it refused."""
    is_runner = len(files) == MAX_FILES
    options = ["--fd", str(EXTRA_FD)] if is_runner else []
    request = Request(
        kind=RUNNER if is_runner else JOB,
        arguments=[os.fsencode(each) for each in ("localrun", *arguments, *options)],
        environ={os.fsencode(name): os.fsencode(value) for name, value in environ.items()},
        umask=_umask(),
        streams=[locale_of_python(), *["utf-8:backslashreplace:0"] * 3],
        ignored=[n for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN],
    ).encode()
    if connection.recv(len(HELLO)) != HELLO:
        return None
    socket.send_fds(connection, [request[:HEAD_BYTES]], files)
    connection.sendall(request[HEAD_BYTES:])
    answer = connection.recv(REPLY_BYTES)
    kind, pid = parse_reply(answer)
    return pid if kind == ACCEPTED else None


def _umask() -> int:
    """Return the umask without changing it: other threads create files."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:  # noqa: PTH123
        masks = [line for line in lines if line.startswith("Umask:")]
    return int(masks[0].split()[1], 8) if masks else PRIVATE_UMASK


class ForkedChild:
    """A fork of the warm process, which reports its exit code over ``connection``."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._connection = connection
        self._pidfd = os.pidfd_open(pid)
        self._lock = threading.Lock()  # guards reading the exit code, and closing
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; negative for the signal that ended the process.

        Raises:
            TimeoutExpired: the process still runs after ``timeout`` seconds.
        """
        if self._code is None:
            ended = select.poll()
            ended.register(self._pidfd, select.POLLIN)
            if not ended.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired("localrun", timeout or 0.0)
        with self._lock:
            if self._code is None:
                self._code = self._read_code()
        return self._code

    def kill(self) -> None:
        """Kill the process, if it still runs."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _read_code(self) -> int:
        self._connection.settimeout(STATUS_TIMEOUT_S)
        code = UNKNOWN_STATUS
        with contextlib.suppress(OSError):
            answer = self._connection.recv(REPLY_BYTES)
            if len(answer) == REPLY_BYTES:
                kind, number = parse_reply(answer)
                code = number if kind == EXITED else -number
        self._connection.close()
        return code

    def __del__(self) -> None:
        self._connection.close()
        os.close(self._pidfd)
