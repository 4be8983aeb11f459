"""Submission of this process's command to the warm process.

Refuses wherever a worker could do something else than this process would: a terminal in which this
process is in the background, options or variables of Python, files that only this process has
open. Imports only what Python has loaded already or what is built in.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from types import FrameType
    from typing import TextIO

REPLY_TIMEOUT_S = 10.0  # 500 commands may come at once
INIT = 1  # no worker
_FLAGS = (  # that change what a program does
    "inspect", "interactive", "optimize", "no_user_site", "no_site", "ignore_environment",
    "verbose", "bytes_warning", "isolated", "dev_mode",
)  # fmt: skip
_HARMLESS = frozenset({"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"})  # usual in containers
# files of this process by their path, and the shell, which is found among the parents
_OWN = ("/dev/", "/proc/", "--install-completion", "--show-completion")
_IMPORT = "<frozen importlib._bootstrap>"
_STREAMS = ("/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/null")


def run_warm() -> int | None:
    """Return the exit code of this process's command in the warm process, None if not run there."""
    import _signal as signal  # type: ignore[import-not-found,unused-ignore]

    if not _is_eligible():
        return None
    if signal.getsignal(signal.SIGINT) != signal.default_int_handler:
        return _run([])
    interrupts: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        # the end of an import is a callback of Python, which prints what it raises and goes on
        if frame is None or frame.f_code.co_filename != _IMPORT:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        code = _run(interrupts)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupts:
        raise KeyboardInterrupt
    return code


def _is_eligible() -> bool:
    """Return whether a worker of the warm process would do exactly what this process would do."""
    if any(name.startswith("PYTHON") and name not in _HARMLESS for name in os.environ):
        return False
    if any(getattr(sys.flags, name) for name in _FLAGS) or sys._xoptions or sys.warnoptions:  # noqa: SLF001 - documented
        return False
    if os.getuid() != os.geteuid() or None in {sys.stdin, sys.stdout, sys.stderr}:
        return False
    if sys.argv[1:2] in (["serve"], ["worker"]):  # they must not be a part of a server
        return False
    return not (_names_own_files() or _blocks_signals() or _is_in_background())


def _names_own_files() -> bool:
    """Return whether a path may mean something else in another process."""
    settings = [value for name, value in os.environ.items() if name.startswith("LOCALRUN_")]
    return any(
        part in text and text not in _STREAMS
        for text in [*sys.argv[1:], *settings]
        for part in _OWN
    )


def _blocks_signals() -> bool:
    import _signal as signal  # type: ignore[import-not-found,unused-ignore]

    return bool(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def _is_in_background() -> bool:
    """Return whether the terminal belongs to another job: reading it must stop this process."""
    try:
        return os.tcgetpgrp(0) != os.getpgrp()
    except OSError:  # not this session's terminal
        return False


def _run(interrupts: list[int]) -> int | None:
    """Return the exit code of the command in the warm process, None if it did not run there.

    It does not begin after an interrupt, which are appended to ``interrupts``.
    """
    import _socket

    from localrun.sockets import DEFAULT_ADDRESS, WARM, is_private, socket_folder, socket_path

    path = socket_path(os.environ.get("LOCALRUN_HOST") or DEFAULT_ADDRESS, WARM)
    if path is None or not is_private(socket_folder()):
        return None
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(REPLY_TIMEOUT_S)
        connection.connect(path)
        pid = _submit(connection) if _is_own(connection) else None
        if pid is None:
            return None
        from localrun.warm.handover import Handover

        handover = Handover(connection, pid)
        return None if interrupts else handover.run()
    except (OSError, ValueError):  # nobody listens, or the warm process has ended; a NUL in a path
        return None
    finally:
        connection.close()


def _is_own(connection: socket) -> bool:
    """Return whether a process of the same user listens: it gets this process's environment."""
    from localrun.sockets import peer_of

    return peer_of(connection)[1] == os.geteuid()


def _submit(connection: socket) -> int | None:
    """Send the command; return the process id of its worker, None if it was refused."""
    import _socket

    from localrun.warm.protocol import ACCEPTED, HEAD_BYTES, HELLO, REPLY_BYTES, parse_reply

    request = _request()
    if connection.recv(len(HELLO)) != HELLO:
        return None
    folder = os.open(".", os.O_PATH | os.O_DIRECTORY)  # it may not exist any more
    try:
        files = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (folder, 0, 1, 2))
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)
        connection.sendmsg([request[:HEAD_BYTES]], [rights])
    finally:
        os.close(folder)
    connection.sendall(request[HEAD_BYTES:])
    answer = connection.recv(REPLY_BYTES)
    kind, pid = parse_reply(answer)
    return pid if kind == ACCEPTED and len(answer) == REPLY_BYTES and pid > INIT else None


def _request() -> bytes:
    import _signal as signal  # type: ignore[import-not-found,unused-ignore]

    from localrun.warm.protocol import COMMAND, Request, locale_of_python

    umask = os.umask(0o077)
    os.umask(umask)
    streams = [_description(each) for each in (sys.stdin, sys.stdout, sys.stderr)]
    numbers = range(1, signal.NSIG)
    return Request(
        kind=COMMAND,
        arguments=[os.fsencode(argument) for argument in sys.argv],
        environ=os.environb,
        umask=umask,
        streams=[locale_of_python(), *streams],
        ignored=[each for each in numbers if signal.getsignal(each) == signal.SIG_IGN],
    ).encode()


def _description(stream: TextIO) -> str:
    is_unbuffered = getattr(stream, "write_through", False)
    return f"{stream.encoding}:{stream.errors}:{is_unbuffered:d}"
