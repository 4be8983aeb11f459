"""A worker: a fork of the warm process that becomes one command of a client.

It reads the request, refuses what it could not run exactly as the client itself would, takes the
client's files, folder, environment, limits and locale, and runs the command line. A refusal comes
before anything has run, so that the client loses nothing but a millisecond.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import locale
import os
import resource
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from localrun.warm.protocol import (
    ACCEPTED,
    COMMAND,
    EXITED,
    EXTRA_FD,
    GO,
    HEAD_BYTES,
    JOB,
    MAX_FILES,
    REFUSED,
    body_length,
    decode,
    reply,
)
from localrun.warm.record import record_mortal
from localrun.warm.title import set_title

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Mapping, Sequence

    from localrun.warm.protocol import Request

FAILED_FLUSH = 120  # Python's exit code if stdout cannot be written at the end
INTERRUPTED = 130
READ_TIMEOUT_S = 30.0
STDERR = 2
MAX_FD = 1 << 20
MANY_FD = 200  # received files wait above it, while 0 to 3 are replaced
NAMESPACES = ("mnt", "net", "user", "uts", "ipc", "pid")
# variables that modules have read when they were imported, by beginning
READ_AT_IMPORT = (
    "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "PYDANTIC_", "TERMINAL_WIDTH", "TYPER_",
    "_TYPER_FORCE", "_TYPER_STANDARD", "TYPER_USE", "GOMP_", "KMP_", "LD_", "LLAMA_CPP_", "MKL_",
    "NPY_", "OMP_", "OPENBLAS_",
)  # fmt: skip


class WarmState(NamedTuple):
    """What a worker has from the warm process."""

    run: Callable[[], int]  # runs the command line of `sys.argv`
    environ: Mapping[bytes, bytes]  # in which modules were imported
    rights: list[str]  # of the warm process, see `rights`


def run_worker(connection: socket.socket, record: mmap.mmap, state: WarmState) -> None:
    """Serve one connection in this forked process, and end the process."""
    _reset_signals()
    connection.settimeout(READ_TIMEOUT_S)
    request, files = _read(connection)
    peer = _peer(connection)
    if request is None or len(files) < MAX_FILES - 1 or not _can_become(request, peer, state):
        connection.sendall(reply(REFUSED, 0))
        os._exit(0)
    connection.sendall(reply(ACCEPTED, os.getpid()))
    if connection.recv(1) != GO:
        os._exit(0)
    code = INTERRUPTED
    with contextlib.suppress(KeyboardInterrupt):
        connection = _become(request, files, connection)
        if request.kind != JOB:
            record_mortal(record)
        code = _run(state.run)
    os.closerange(0, connection.fileno())  # and with it all locks: the client goes on at once
    os.closerange(connection.fileno() + 1, MAX_FD)
    with contextlib.suppress(OSError):
        connection.sendall(reply(EXITED, code))
    os._exit(code)


def _reset_signals() -> None:
    os.setpgid(0, 0)  # signals of the client reach the children of its command as well
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _read(connection: socket.socket) -> tuple[Request | None, list[int]]:
    """Return the request with its files."""
    head, files, _, _ = socket.recv_fds(connection, HEAD_BYTES, MAX_FILES)
    length = body_length(head)
    if length is None:
        return None, files
    body = bytearray(length)
    view = memoryview(body)
    while view:
        if not (received := connection.recv_into(view)):
            return None, files
        view = view[received:]
    return decode(bytes(body)), files


def _peer(connection: socket.socket) -> int:
    """Return the process id of the client."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid: int = struct.unpack("3i", peer)[0]
    return pid


def _can_become(request: Request, peer: int, state: WarmState) -> bool:
    """Return whether the command would run here as in its client; raises its limits to them."""
    if request.kind != COMMAND:  # the server's own child
        return True
    has_same_locale = request.streams[0] == sys.getfilesystemencoding()
    if not has_same_locale or _read_at_import(request.environ) != _read_at_import(state.environ):
        return False
    try:
        if rights(peer) != state.rights:
            return False
        _take_limits(peer)
    except (OSError, ValueError):  # it has ended, or may do what this process may not
        return False
    return True


def _read_at_import(environ: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    prefixes = tuple(map(os.fsencode, READ_AT_IMPORT))
    return {name: value for name, value in environ.items() if name.startswith(prefixes)}


def rights(process: int | str) -> list[str]:
    """Return the users, groups and namespaces of a process."""
    with open(f"/proc/{process}/status", errors="replace", encoding="ascii") as lines:  # noqa: PTH123
        rights = [line for line in lines if line.startswith(("Uid:", "Gid:", "Groups:", "Cap"))]
    return rights + [os.readlink(f"/proc/{process}/ns/{kind}") for kind in NAMESPACES]  # noqa: PTH115


def _take_limits(peer: int) -> None:
    """Take the client's resource limits, niceness and processors.

    Raises:
        OSError: this process may not.
        ValueError: the same.
    """
    for name in dir(resource):
        if name.startswith("RLIMIT_"):
            number = getattr(resource, name)
            limits = resource.prlimit(peer, number)
            if limits != resource.getrlimit(number):
                resource.setrlimit(number, limits)
    nice = os.getpriority(os.PRIO_PROCESS, peer)
    if nice != os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    processors = os.sched_getaffinity(peer)
    if processors != os.sched_getaffinity(0):
        os.sched_setaffinity(0, processors)


def _become(request: Request, files: list[int], connection: socket.socket) -> socket.socket:
    """Take the request's files, folder, environment, umask and locale; return the connection."""
    import fcntl

    connection.settimeout(None)
    connection = socket.socket(
        fileno=fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, MANY_FD)
    )
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, MANY_FD) for fd in files]
    os.fchdir(high[0])
    for target, fd in enumerate(high[1:]):
        os.dup2(fd, target, inheritable=target < EXTRA_FD)
    os.closerange(len(high) - 1, MANY_FD)
    for fd in high:
        os.close(fd)
    os.umask(request.umask)
    os.environb.clear()
    os.environb.update(request.environ)
    time.tzset()
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_CTYPE, "")
    tempfile.tempdir = None
    for number in request.ignored:
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_IGN)
    sys.argv[:] = [os.fsdecode(argument) for argument in request.arguments]
    set_title(["localrun", *sys.argv[1:]])
    _open_streams(request.streams[1:])
    return connection


def _open_streams(streams: Sequence[str]) -> None:
    """Open stdin, stdout and stderr as the client's interpreter has opened them."""
    opened = [_stream(fd, *description.split(":")) for fd, description in enumerate(streams)]
    sys.stdin = sys.__stdin__ = opened[0]  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = opened[1]  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = opened[2]  # type: ignore[misc]


def _stream(fd: int, encoding: str, errors: str, is_unbuffered: str) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "r" if fd == 0 else "w", closefd=False)
    raw.name = ("<stdin>", "<stdout>", "<stderr>")[fd]
    buffer: Any = raw
    if fd == 0:
        buffer = io.BufferedReader(raw)
    elif is_unbuffered == "0":
        buffer = io.BufferedWriter(raw)
    stream = io.TextIOWrapper(
        buffer,
        encoding=encoding,
        errors=errors,
        newline="\n",
        line_buffering=fd == STDERR or raw.isatty(),
        write_through=is_unbuffered == "1",
    )
    stream.mode = "r" if fd == 0 else "w"  # type: ignore[misc]
    return stream


def _run(run: Callable[[], int]) -> int:
    """Run the command line, and what the interpreter does at its end; return the exit code."""
    try:
        code = run()
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - joins threads
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = FAILED_FLUSH if stream is sys.stdout else code
    return code & 0xFF


def _exit_code(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code
    print(end.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    return 1
