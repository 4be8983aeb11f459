"""Processes of this program: their start in a group of their own, their end, their priority.

    Unix      a session for each child; signals; nice
    Windows   a process group without a console; TerminateProcess; priority classes

A child in a group of its own is not reached by a Ctrl-C in this process's terminal.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    Stream = int | IO[bytes] | None

OWN_GROUP = 0  # flags of CreateProcess
if sys.platform == "win32":
    OWN_GROUP = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
IDLE_PRIORITY = 19  # nice
IDLE_CLASS = 3  # ionice: only while the disk is idle otherwise
WINDOWS_STILL_ACTIVE = 259
_LIMITED_INFORMATION = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION
_ACCESS_DENIED = 5


def spawn(
    command: Sequence[str],
    *,
    stdin: Stream,
    stdout: Stream,
    stderr: Stream,
    environ: Mapping[str, str] | None = None,
    kept: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start one of our own programs in a process group of its own.

    ``kept`` are file descriptors that the child inherits, which Windows cannot do.

    Raises:
        OSError: the system has no process or memory left for it.
    """
    return subprocess.Popen(  # noqa: S603 - our own program
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environ,
        pass_fds=kept,
        start_new_session=True,
        creationflags=OWN_GROUP,
    )


class ChildProcess(Protocol):
    """A child of this process, of `subprocess` or of `asyncio`."""

    pid: int

    def kill(self) -> None:
        """Kill the child."""


def kill_group(child: ChildProcess) -> None:
    """Kill a child with a group of its own, and its own children; do nothing if it has ended."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            _kill_tree(child.pid)
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL)


def is_running(process_id: int) -> bool:
    """Return whether a process exists, also one of another user."""
    if sys.platform == "win32":  # where signal 0 would end it
        return _is_running_on_windows(process_id)
    else:
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            return False
        except OSError:  # of another user
            return True
        return True


def user_id() -> int:
    """Return the number of this user; Windows has none, and 0 stands for it."""
    if sys.platform == "win32":
        return 0
    else:
        return os.getuid()


class ProcessWatch(Protocol):
    """A process that need not be a child of this one."""

    def wait(self, timeout: float) -> object:
        """Block until the process has ended, at most ``timeout`` seconds."""

    def close(self) -> None:
        """Stop watching."""


def watch_process(process_id: int) -> ProcessWatch | None:
    """Return a watch of a process, None if it has ended."""
    watch: ProcessWatch | None = _PsutilWatch(process_id)
    if sys.platform == "linux":
        try:
            watch = _PidfdWatch(os.pidfd_open(process_id))
        except OSError:
            watch = None
    return watch


def is_program(process_id: int) -> bool:
    """Return whether a process of this machine is this program.

    The id that a server reports may be that of a container.
    """
    import psutil

    try:
        return any("localrun" in word for word in psutil.Process(process_id).cmdline())
    except psutil.Error:
        return False


def signal_name(number: int) -> str:
    """Return the name of a signal, or its number if it has none, such as real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def interrupt_main_thread() -> None:
    """Raise KeyboardInterrupt in the main thread, also while it waits in a call of the system.

    On Windows it is raised after the call.
    """
    main = threading.main_thread().ident
    if sys.platform == "win32":
        import _thread

        _thread.interrupt_main()
    elif main is not None:
        signal.pthread_kill(main, signal.SIGINT)


def shutdown_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that ask a server to end: of a terminal, and of a service manager."""
    if sys.platform == "win32":  # Ctrl-C, Ctrl-Break and the window's close button
        return (signal.SIGINT, signal.SIGTERM, signal.SIGBREAK)
    else:
        return (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def call_on_signal(
    loop: asyncio.AbstractEventLoop, number: signal.Signals, handle: Callable[[], None]
) -> None:
    """Call a function on the event loop for each signal; must run in the main thread."""
    if sys.platform == "win32":  # whose event loop has no such function
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(handle))
    else:
        loop.add_signal_handler(number, handle)


def lower_priority() -> None:
    """Let all other processes have the CPU and the disk first; do nothing if that is unknown."""
    with contextlib.suppress(ImportError, OSError):
        import psutil

        own = psutil.Process()
        if sys.platform == "win32":
            own.nice(psutil.IDLE_PRIORITY_CLASS)
            own.ionice(psutil.IOPRIO_VERYLOW)
        else:
            os.nice(IDLE_PRIORITY)
        if sys.platform == "linux":
            own.ionice(IDLE_CLASS)


class _PsutilWatch:
    """A process that psutil waits for."""

    def __init__(self, process_id: int) -> None:
        self._process_id = process_id

    def wait(self, timeout: float) -> object:
        import psutil

        with contextlib.suppress(psutil.Error):
            psutil.Process(self._process_id).wait(timeout)
        return None

    def close(self) -> None:
        return


if sys.platform == "linux":

    class _PidfdWatch:
        """A file descriptor of a process, which can be read when the process has ended."""

        def __init__(self, pidfd: int) -> None:
            self._pidfd = pidfd

        def wait(self, timeout: float) -> object:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            return poll.poll(timeout * 1000)

        def close(self) -> None:
            os.close(self._pidfd)


if sys.platform == "win32":
    import ctypes

    def _is_running_on_windows(process_id: int) -> bool:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = ctypes.c_void_p
        handle = kernel.OpenProcess(_LIMITED_INFORMATION, False, process_id)  # noqa: FBT003 - inherit
        if not handle:
            return ctypes.get_last_error() == _ACCESS_DENIED
        code = ctypes.c_ulong()
        try:
            kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
        finally:
            kernel.CloseHandle(ctypes.c_void_p(handle))
        return code.value == WINDOWS_STILL_ACTIVE

    def _kill_tree(process_id: int) -> None:
        """Kill the descendants of a process, the youngest first."""
        import psutil

        with contextlib.suppress(psutil.Error):
            for each in reversed(psutil.Process(process_id).children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    each.kill()
