"""A worker: a fork of the warm process that becomes one command of a client.

It reads the request, refuses what it could not run exactly as the client itself would, takes the
client's files, folder, environment, limits and locale, and runs the command line. A refusal comes
before anything has run, so that the client loses nothing but a millisecond.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import atexit
import contextlib
import fcntl
import locale
import os
import resource
import select
import signal
import socket
import tempfile
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from localrun.sockets import peer_of
from localrun.warm.foreground import terminal_input
from localrun.warm.own_terminal import HandedBackError
from localrun.warm.peer import rights, take_limits
from localrun.warm.protocol import (
    ACCEPTED,
    COMMAND,
    EXITED,
    EXTRA_FD,
    GO,
    HEAD_BYTES,
    HELLO,
    JOB,
    MAX_FILES,
    REFUSED,
    RUNNER,
    body_length,
    decode,
    locale_of_python,
    reply,
)
from localrun.warm.record import record_mortal
from localrun.warm.streams import FAILED_FLUSH, flush_streams, open_streams
from localrun.warm.title import set_title

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Mapping, Sequence

    from localrun.warm.protocol import Request

INTERRUPTED = 130
READ_TIMEOUT_S = 30.0
FIRST_FREE_FD = EXTRA_FD + 1
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
# variables that modules have read when they were imported, by beginning
READ_AT_IMPORT = (
    "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "PYDANTIC_", "PYTHON", "TERMINAL_WIDTH",
    "TYPER_", "_TYPER_FORCE", "_TYPER_STANDARD", "GOMP_", "KMP_", "LD_", "LLAMA_CPP_", "MKL_",
    "NPY_", "OMP_", "OPENBLAS_",
)  # fmt: skip
NO_BYTECODE = b"PYTHONDONTWRITEBYTECODE"
TAKEN_LATER = (NO_BYTECODE, b"PYTHONUNBUFFERED")  # a worker honours the client's


class WarmState(NamedTuple):
    """What a worker has from the warm process."""

    run: Callable[[], int]  # runs the command line of `sys.argv`
    environ: Mapping[bytes, bytes]  # in which modules were imported
    rights: list[str]  # of the warm process, see `localrun.warm.peer`
    open_files: tuple[int, int]  # the server's limit, for its runners and jobs


def run_worker(connection: socket.socket, record: mmap.mmap, state: WarmState) -> None:
    """Serve one connection in this forked process, and end the process."""
    _reset_signals()
    kind, code = EXITED, INTERRUPTED
    with contextlib.suppress(KeyboardInterrupt):
        request, files = _receive(connection, state)
        connection = _become(request, files, connection)
        if request.kind != JOB:
            client, is_runner = peer_of(connection)[0], request.kind == RUNNER
            record_mortal(record, client, is_runner=is_runner)
        if request.kind != JOB and _is_alone(connection):
            os._exit(0)
        try:
            code = _run(state.run)
        except HandedBackError:
            kind = REFUSED
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _close_all_but(connection)  # and with them all locks: the client goes on at once
    with contextlib.suppress(OSError):
        connection.sendall(reply(kind, code))
    os._exit(code)


def _reset_signals() -> None:
    """Set signals as Python finds them, and lead a process group.

    Signals of the client then reach the children of its command as well.
    """
    os.setpgid(0, 0)
    for number in signal.valid_signals() - {*IGNORED_BY_PYTHON, signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) not in {signal.SIG_DFL, None}:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _receive(connection: socket.socket, state: WarmState) -> tuple[Request, list[int]]:
    """Return the request with its files; end this process if it is refused or taken back."""
    connection.settimeout(READ_TIMEOUT_S)
    try:
        connection.sendall(HELLO)
        request, files = _read(connection)
        if request is None or not _can_become(request, files, peer_of(connection)[0], state):
            connection.sendall(reply(REFUSED, 0))
            os._exit(0)
        connection.sendall(reply(ACCEPTED, os.getpid()))
        connection.settimeout(None)  # the client may be stopped by Ctrl-Z right now
        if connection.recv(1) != GO:
            os._exit(0)
    except OSError:  # the client is gone, or says nothing
        os._exit(0)
    return request, files


def _read(connection: socket.socket) -> tuple[Request | None, list[int]]:
    """Return the request with its files; no request if it is damaged or of another build."""
    head, files, flags, _ = socket.recv_fds(connection, HEAD_BYTES, MAX_FILES)
    length = body_length(head)
    if length is None or flags & socket.MSG_CTRUNC:
        return None, files
    body = bytearray(length)
    view = memoryview(body)
    while view:
        if not (received := connection.recv_into(view)):
            return None, files
        view = view[received:]
    return decode(bytes(body)), files


def _can_become(request: Request, files: Sequence[int], peer: int, state: WarmState) -> bool:
    """Return whether the command would run here as in its client; takes its limits."""
    if len(files) != (MAX_FILES if request.kind == RUNNER else MAX_FILES - 1):
        return False
    if request.kind != COMMAND:  # the server's own child
        resource.setrlimit(resource.RLIMIT_NOFILE, state.open_files)
        return True
    if not _has_locale(request.streams[0]):
        return False
    if _read_at_import(request.environ) != _read_at_import(state.environ):
        return False
    try:
        return rights(peer) == state.rights and take_limits(peer)
    except (OSError, ValueError):  # it has ended, or may do what this process may not
        return False


def _has_locale(wanted: str) -> bool:
    """Return whether this process encodes names and texts as the client; UTF-8 mode is stronger."""
    return locale_of_python() in {wanted, wanted.replace("locale", "utf8")}


def _read_at_import(environ: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    prefixes = tuple(map(os.fsencode, READ_AT_IMPORT))
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(prefixes) and name not in TAKEN_LATER
    }


def _become(request: Request, files: list[int], connection: socket.socket) -> socket.socket:
    """Take the request's files, folder, environment, umask and locale; return the connection."""
    files = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD) for fd in files]
    high = fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD)
    connection.detach()
    os.fchdir(files[0])
    for target, fd in enumerate(files[1:]):
        os.dup2(fd, target, inheritable=target < EXTRA_FD)
    close_range(len(files) - 1, keep={high})
    os.umask(request.umask)
    os.environb.clear()
    os.environb.update(request.environ)
    sys.dont_write_bytecode = bool(request.environ.get(NO_BYTECODE))
    time.tzset()
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_CTYPE, "")
    tempfile.tempdir = None
    for number in request.ignored:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    sys.argv[:] = [os.fsdecode(argument) for argument in request.arguments]
    set_title(["localrun", *sys.argv[1:]])
    connection = socket.socket(fileno=high)
    open_streams(request.streams[1:], terminal_input(peer_of(connection)[0]))
    return connection


def close_range(first: int, keep: set[int]) -> None:
    """Close the file descriptors from ``first`` on, except some."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) >= first and int(name) not in keep:
            with contextlib.suppress(OSError):  # the one of the list itself
                os.close(int(name))


def _is_alone(connection: socket.socket) -> bool:
    """Return whether the client was killed before its death was recorded to matter."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


def _run(run: Callable[[], int]) -> int:
    """Run the command line, and what the interpreter does at its end; return the exit code."""
    try:
        code = run()
    except HandedBackError:
        raise
    except SystemExit as end:
        code = _exit_code(end)
    except KeyboardInterrupt:  # before the command line caught it: as `localrun.front` does
        code = INTERRUPTED
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - joins threads
    atexit._run_exitfuncs()  # noqa: SLF001
    return code & 0xFF if flush_streams() else FAILED_FLUSH


def _exit_code(end: SystemExit) -> int:
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code
    print(end.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    return 1


def _close_all_but(connection: socket.socket) -> None:
    """Close all files; stdin, stdout and stderr stay open, on nothing, for threads that remain."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(EXTRA_FD):
        os.dup2(null, fd)
    close_range(EXTRA_FD, keep={connection.fileno()})
