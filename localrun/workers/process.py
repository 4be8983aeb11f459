"""Process of a worker at this end: the command, its hello, the last lines of its stderr, its end.

The command gets one end of a socket pair as stdin and stdout. The other end goes to a runner, and
is closed here: the command ends with the runner, or when this process ends.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from typing import IO, TYPE_CHECKING

from localrun.errors import IntegrityError, NetworkError
from localrun.system.processes import kill_group, signal_name
from localrun.workers.hello import MAX_LINE_BYTES, WorkerHello, printable, refusal
from localrun.workers.readiness import can_read

if TYPE_CHECKING:
    from localrun.workers.command import WorkerCommand

HELLO_LIMIT_S = 10.0
GRACE_S = 2.0  # for a command to end by itself, once its stdin has ended
END_S = 0.5  # for the exit code of a command whose output has ended
LAST_BYTES = 2048  # of stderr
MAX_REASON = 300


class WorkerProcess:
    """A started command of a worker; `socket` is its stdin and stdout."""

    def __init__(self, command: WorkerCommand) -> None:
        """Start the command.

        Raises:
            NetworkError: there is no such program.
        """
        self.name = command.name
        self.socket, theirs = socket.socketpair()
        self._last = b""
        self._is_ending = False
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - the user's own command
                    command.arguments,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
        except OSError as error:
            self.socket.close()
            raise self._away(f"it cannot be started: {error.strerror or error}") from error
        self._reader = threading.Thread(
            target=self._read_stderr, args=(self._process.stderr,), name="worker-log", daemon=True
        )
        self._reader.start()

    @property
    def is_alive(self) -> bool:
        """Return whether the command runs."""
        return self._process.poll() is None

    def read_hello(self, limit_s: float = HELLO_LIMIT_S) -> WorkerHello:
        """Return the next hello; blocks for at most ``limit_s``.

        Raises:
            NetworkError: the command ended, sent no hello in time, or has another protocol.
        """
        try:
            hello = WorkerHello.parse(self._read_line(limit_s))
        except IntegrityError as error:
            raise self._away(error.message) from error
        reason = refusal(hello)
        if reason is not None:
            raise self._away(reason)
        return hello

    def refresh(self, limit_s: float = HELLO_LIMIT_S) -> WorkerHello:
        """Ask for another hello, with the memory that is free now; see `read_hello`."""
        self._send(b"status\n")
        return self.read_hello(limit_s)

    def start(self) -> None:
        """Let frames of llama.cpp's protocol begin.

        Raises:
            NetworkError: the command has ended.
        """
        self._send(b"start\n")

    def release(self) -> None:
        """Close this process's end, which a runner has now."""
        self.socket.close()

    def end_reason(self, seen: str) -> str:
        """Return why the worker ended: its own last words, or ``seen``, what was seen of it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        code, last = self._process.poll(), self._last_line()
        if code is not None and code < 0 and not self._is_ending:
            seen = f"it was killed by {signal_name(-code)}"
        elif code:
            seen = f"it ended with exit code {code}"
        return f"{seen}: {last}" if last and code else seen

    def end(self, grace_s: float = GRACE_S) -> None:
        """End the command and its children, by force after ``grace_s``; blocks."""
        self._is_ending = True
        self.socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        kill_group(self._process)  # also what the command has started, and left
        self._process.wait()
        self._reader.join(END_S)

    def kill(self) -> None:
        """Kill the command and its children; whoever waits for an answer sees the end."""
        if self.is_alive:
            kill_group(self._process)

    def _send(self, request: bytes) -> None:
        try:
            self.socket.sendall(request)
        except OSError as error:
            raise self._away(self.end_reason("it ended")) from error

    def _read_line(self, limit_s: float) -> bytes:
        """Return a line without what follows it: only frames that were asked for come later."""
        deadline, line = time.monotonic() + limit_s, b""
        while not line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not can_read(self.socket, left_s):
                raise self._away(f"it sent no hello within {limit_s:g} s")
            try:
                part = self.socket.recv(MAX_LINE_BYTES)
            except OSError:
                part = b""
            if not part:
                raise self._away(self.end_reason("it ended before its hello"))
            line += part
        return line[:MAX_LINE_BYTES]

    def _away(self, reason: str) -> NetworkError:
        return NetworkError(
            f"the worker `{self.name}` cannot be used: {reason}"[: MAX_REASON + len(self.name)],
            hint="localrun doctor   asks all workers",
        )

    def _read_stderr(self, stream: IO[bytes] | None) -> None:
        if stream is None:
            return
        with stream:
            while part := stream.read1(LAST_BYTES):  # type: ignore[attr-defined]
                self._last = (self._last + part)[-LAST_BYTES:]

    def _last_line(self) -> str:
        if not self.is_alive:
            self._reader.join(END_S)
        lines = self._last.decode(errors="replace").splitlines()
        said = [text for text in map(printable, lines) if text]
        errors = [text for text in said if text.startswith("error: ")]
        return (errors or said or [""])[-1][:MAX_REASON]
