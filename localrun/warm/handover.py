"""Handover of a client: its worker runs the command, and the client lives as the worker does.

    signal to the client      goes to the worker's process group
    Ctrl-Z                    stops the worker, then the client; both go on together, but not in
                              the background while the worker reads the terminal
    the worker has ended      the client ends with its exit code, or by the same signal

The kernel knows the client as the job of its terminal, and the worker as nobody's. So the client
stops and asks for the terminal in the worker's place.

Imports only what Python has loaded already or what is built in, as `localrun.front`.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import _signal as signal  # type: ignore[import-not-found,unused-ignore]
import os

from localrun.warm.protocol import EXITED, GO, REFUSED, REPLY_BYTES, parse_reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from types import FrameType

    Modes = list[int | list[bytes | int]]

LOST_SIGNAL_S = 1.0  # a signal that comes just before recv() does not interrupt it
KILLED = 128  # plus the number of the signal
MAX_STOPS = 100  # the system does not stop a process group without a shell
PASSED_ON = ("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH")
STOPPING = ("TSTP", "TTIN", "TTOU")


class Handover:
    """A worker that runs this process's command."""

    def __init__(self, connection: socket, pid: int) -> None:
        self._connection = connection
        self._pid = pid
        self._passed_on: set[int] = set()
        self._modes = _terminal_modes()
        self._caught = {
            **{getattr(signal, f"SIG{name}"): self._pass_on for name in PASSED_ON},
            **{getattr(signal, f"SIG{name}"): self._stop for name in STOPPING},
        }

    def run(self) -> int | None:
        """Let the worker go, and return its exit code, None if it has not run; blocks."""
        before = {number: signal.getsignal(number) for number in self._caught}
        for number in self._caught:
            self._catch(number)
        try:
            self._connection.settimeout(LOST_SIGNAL_S)
            self._connection.sendall(GO)
            code = self._wait()
        except OSError:  # the worker has ended before it did anything, or hands the command back
            for number, handler in before.items():
                signal.signal(number, handler)
            for number in self._passed_on:
                os.kill(os.getpid(), number)
            return None
        return code if code >= 0 else self._die(-code)

    def _catch(self, number: int) -> None:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, self._caught[number])

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._passed_on.add(number)
        self._signal(number)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._pid, number)
        except OSError:  # it has just ended
            return

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Stop the worker, then this process, as Ctrl-Z does; go on together.

        The system ignores the other signals that stop in a process group that no shell controls.
        The worker sends SIGTTIN if it may not read the terminal, which may be true no more.
        """
        if number == signal.SIGTTIN and not _is_elsewhere():
            return
        self._signal(signal.SIGSTOP)
        self._stop_here(number)
        for _ in range(MAX_STOPS):
            if not (self._is_reading() and _is_elsewhere()):
                break
            self._stop_here(signal.SIGTTIN)  # continued in the background, it would take keys
        self._signal(signal.SIGCONT)

    def _stop_here(self, number: int) -> None:
        """Stop this process by a signal, until it is continued."""
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        self._catch(number)

    def _is_reading(self) -> bool:
        """Return whether the worker reads the terminal: it catches SIGCONT as long as it does."""
        try:
            with open(f"/proc/{self._pid}/status", "rb") as file:  # noqa: PTH123
                caught = file.read().partition(b"SigCgt:")[2].split()[0]
        except (OSError, IndexError):  # it has just ended
            return False
        return bool(int(caught, 16) >> (signal.SIGCONT - 1) & 1)

    def _wait(self) -> int:
        """Return the exit code, or the signal that ended the worker as a negative number.

        Raises:
            OSError: the worker has ended before it read what was sent to it, or the command needs
                this process's terminal.
        """
        while (answer := self._receive()) is None:
            pass  # Python runs the handlers of signals here
        if len(answer) < REPLY_BYTES:  # killed together with the warm process
            return -int(signal.SIGKILL)
        kind, number = parse_reply(answer)
        if kind == REFUSED:
            raise OSError
        return number & 0xFF if kind == EXITED else -number

    def _receive(self) -> bytes | None:
        try:
            return self._connection.recv(REPLY_BYTES)
        except TimeoutError:
            return None

    def _die(self, number: int) -> int:
        """End as the worker ended, by a signal; the terminal is as it was before."""
        self._restore_terminal()
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return KILLED + number

    def _restore_terminal(self) -> None:
        if self._modes is None or _is_elsewhere():
            return
        import termios

        try:
            termios.tcsetattr(0, termios.TCSADRAIN, self._modes)
        except termios.error:  # it has been closed
            return


def _is_elsewhere() -> bool:
    """Return whether the terminal belongs to another job, which may have set its modes."""
    try:
        return os.tcgetpgrp(0) != os.getpgrp()
    except OSError:  # not this session's terminal
        return False


def _terminal_modes() -> Modes | None:
    """Return the modes of the terminal on stdin, None if it is not a terminal."""
    if sys.platform == "win32" or not os.isatty(0):
        return None
    import termios

    try:
        return termios.tcgetattr(0)
    except termios.error:  # it has been closed
        return None
