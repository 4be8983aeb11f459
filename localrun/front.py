"""Entry point of the program: hands a command to the warm process, else runs it in this process.

The warm process belongs to a running server and has everything imported. It forks a worker, which
runs the command with this process's files, folder, environment and limits; this process passes
signals on, waits, and ends as the worker ended. Wherever that could differ from the ordinary way,
the ordinary way is taken: no server, another build, a terminal in which this process is in the
background, options or variables of Python, ``LOCALRUN_WARM=0``.

Imports only what Python has loaded already or what is built in: this module runs for each command.
"""

from __future__ import annotations

import os
import sys

from localrun import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from types import FrameType
    from typing import TextIO

    Modes = list[int | list[bytes | int]]

INTERRUPTED = 130
KILLED = 128  # plus the number of the signal
REPLY_TIMEOUT_S = 10.0  # 500 commands may come at once
_FLAGS = (  # that change what a program does
    "inspect", "interactive", "optimize", "no_user_site", "no_site", "ignore_environment",
    "verbose", "bytes_warning", "isolated", "dev_mode",
)  # fmt: skip
_HARMLESS = frozenset({"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"})  # usual in containers


def main() -> int:
    """Run the command line and return the exit code."""
    if sys.argv[1:] == ["--version"] and _has_printed_version():
        return 0
    try:
        code = _run_warm() if _is_eligible() else None
    except KeyboardInterrupt:
        return INTERRUPTED
    if code is not None:
        os._exit(code)  # nothing is buffered here
    from localrun.cli.main import main as run_here

    return run_here()


def _has_printed_version() -> bool:
    """Print the version without importing the command line, which takes ten times as long."""
    try:
        os.write(1, f"localrun {__version__}\n".encode())
    except OSError:  # which the command line reports
        return False
    return True


def _is_eligible() -> bool:
    """Return whether a worker of the warm process would do exactly what this process would do."""
    if sys.platform != "linux" or os.environ.get("LOCALRUN_WARM") == "0":
        return False
    if any(name.startswith("PYTHON") and name not in _HARMLESS for name in os.environ):
        return False
    if any(getattr(sys.flags, name) for name in _FLAGS) or sys._xoptions or sys.warnoptions:  # noqa: SLF001 - documented
        return False
    if os.getuid() != os.geteuid() or None in {sys.stdin, sys.stdout, sys.stderr}:
        return False
    return not _is_in_background()


def _is_in_background() -> bool:
    """Return whether the terminal belongs to another job: reading it must stop this process."""
    try:
        return os.tcgetpgrp(0) != os.getpgrp()
    except OSError:  # not this session's terminal
        return False


def _run_warm() -> int | None:
    """Return the exit code of the command in the warm process, None if it did not run there."""
    import _socket

    from localrun.sockets import DEFAULT_ADDRESS, WARM, is_private, socket_folder, socket_path

    path = socket_path(os.environ.get("LOCALRUN_HOST") or DEFAULT_ADDRESS, WARM)
    if path is None or not is_private(socket_folder()):
        return None
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(REPLY_TIMEOUT_S)
        connection.connect(path)
        pid = _submit(connection)
        if pid is None:
            return None
        return _Handover(connection, pid).run()
    except OSError:  # nobody listens, or the warm process has ended
        return None
    finally:
        connection.close()


def _submit(connection: socket) -> int | None:
    """Send the command; return the process id of its worker, None if it was refused."""
    import _socket

    from localrun.warm.protocol import ACCEPTED, HEAD_BYTES, REPLY_BYTES, parse_reply

    request = _request()
    folder = os.open(".", os.O_PATH | os.O_DIRECTORY)  # it may not exist any more
    files = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (folder, 0, 1, 2))
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)
    connection.sendmsg([request[:HEAD_BYTES]], [rights])
    os.close(folder)
    connection.sendall(request[HEAD_BYTES:])
    answer = connection.recv(REPLY_BYTES)
    kind, pid = parse_reply(answer)
    return pid if kind == ACCEPTED and len(answer) == REPLY_BYTES else None


def _request() -> bytes:
    import _signal as signal  # type: ignore[import-not-found,unused-ignore]

    from localrun.warm.protocol import COMMAND, Request

    umask = os.umask(0o077)
    os.umask(umask)
    streams = [_description(each) for each in (sys.stdin, sys.stdout, sys.stderr)]
    numbers = range(1, signal.NSIG)
    return Request(
        kind=COMMAND,
        arguments=[os.fsencode(argument) for argument in sys.argv],
        environ=os.environb,
        umask=umask,
        streams=[sys.getfilesystemencoding(), *streams],
        ignored=[each for each in numbers if signal.getsignal(each) == signal.SIG_IGN],
    ).encode()


def _description(stream: TextIO) -> str:
    is_unbuffered = getattr(stream, "write_through", False)
    return f"{stream.encoding}:{stream.errors}:{is_unbuffered:d}"


class _Handover:
    """A worker that runs this process's command: signals go to it, its end comes from it."""

    def __init__(self, connection: socket, pid: int) -> None:
        self._connection = connection
        self._pid = pid
        self._modes = _terminal_modes()

    def run(self) -> int:
        """Let the worker go, and return its exit code; blocks until it has ended."""
        import _signal as signal  # type: ignore[import-not-found,unused-ignore]

        from localrun.warm.protocol import GO

        for name in ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "CONT", "WINCH"):
            self._catch(getattr(signal, f"SIG{name}"), self._pass_on)
        self._catch(signal.SIGTSTP, self._stop)
        self._connection.settimeout(None)
        self._connection.sendall(GO)
        code = self._wait()
        return code if code >= 0 else self._die(-code)

    def _catch(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        import _signal as signal  # type: ignore[import-not-found,unused-ignore]

        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, handler)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        try:
            os.killpg(self._pid, number)
        except OSError:  # it has just ended
            return

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Stop the worker, then this process, as Ctrl-Z does; go on together.

        The system ignores SIGTSTP in a process group that no shell controls.
        """
        import _signal as signal  # type: ignore[import-not-found,unused-ignore]

        self._pass_on(signal.SIGSTOP, None)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        self._pass_on(signal.SIGCONT, None)
        self._catch(number, self._stop)

    def _wait(self) -> int:
        """Return the exit code, or the signal that ended the worker as a negative number."""
        from localrun.warm.protocol import EXITED, REPLY_BYTES, parse_reply

        code = -9  # killed together with the warm process
        while len(answer := self._connection.recv(REPLY_BYTES)) == REPLY_BYTES:
            kind, number = parse_reply(answer)
            code = number if kind == EXITED else -number
        return code

    def _die(self, number: int) -> int:
        """End as the worker ended, by a signal; the terminal is as it was before."""
        import _signal as signal  # type: ignore[import-not-found,unused-ignore]

        if self._modes is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self._modes)
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return KILLED + number


def _terminal_modes() -> Modes | None:
    """Return the modes of the terminal on stdin, None if it is not a terminal."""
    if not os.isatty(0):
        return None
    import termios

    return termios.tcgetattr(0)
