"""One runner process as the server sees it: load, submit, cancel, close.

Blocking and thread-safe. A reader thread passes each event to the sink of its
request; every submitted request gets exactly one `Terminal`, also when the process
dies. A closed socket tells a runner to leave.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import subprocess
import threading
from collections import deque
from typing import TYPE_CHECKING

from localrun.errors import BackendError, LoadError, RunnerDiedError, UsageError
from localrun.runner.frames import encode, read_messages
from localrun.runner.messages import (
    Cancel,
    Failed,
    Load,
    LoadFailed,
    LoadProgress,
    MemoryChanged,
    Ping,
    Pong,
    Ready,
    Started,
    Stats,
    Step,
    Terminal,
)
from localrun.supervisor.heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.runner.frames import Message
    from localrun.runner.messages import Event, Submitted

    Start = Callable[[socket.socket], subprocess.Popen[bytes]]
    Sink = Callable[[Event], None]

_log = logging.getLogger(__name__)

KEPT_LINES = 20
TOLD_LINES = 3  # of these, in an error
GRACE_S = 3.0


class Runner:
    """A child process that holds one model."""

    def __init__(self, start: Start, on_end: Callable[[], None] = lambda: None) -> None:
        self._on_end = on_end  # called when it has ended and nothing waits for it any more
        self._socket, child_end = socket.socketpair()
        try:
            with child_end:
                self._process = start(child_end)
        except BaseException:
            self._socket.close()
            raise
        self._incoming: Iterator[Message] = read_messages(self._socket)
        self.adapter_bytes = 0  # of the adapters that it has loaded
        # two locks: a sender may wait until the runner reads, the reader must never wait for that
        self._sending = threading.Lock()
        self._lock = threading.Lock()  # guards the two below
        self._sinks: dict[int, Sink] = {}
        self._is_over = False
        self.is_gone = False  # it is over, and all its requests were told
        self.was_closed = False
        self.was_broken_off = False  # closed while it loaded
        self._closed_for = "it was unloaded"
        self._killed_for: str | None = None
        self.pulse = Heartbeat()
        self.stats = Stats()  # as it last told
        self.has_crashed = False  # it ended although nobody asked it to
        self._last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._log_thread = threading.Thread(target=self._keep_log, name="runner-log", daemon=True)
        self._log_thread.start()

    @property
    def is_alive(self) -> bool:
        """Return whether requests can be submitted."""
        return not self._is_over

    def load(self, load: Load, on_progress: Callable[[float], None] = lambda _: None) -> Ready:
        """Load the model; blocks until it is ready, unless it is closed meanwhile.

        Raises:
            LoadError: it does not load, or the process died over it.
        """
        answer: Message | None = None
        try:
            self._send(encode(load))
            for answer in self._incoming:
                self.pulse.heard()
                if not isinstance(answer, LoadProgress):
                    break
                on_progress(answer.fraction)
        except (OSError, BackendError) as error:
            _log.warning("the runner's messages broke off: %s", error)
        if isinstance(answer, Ready) and not self.was_closed:
            threading.Thread(target=self._read, name="runner-reader", daemon=True).start()
            return answer
        self.was_broken_off = self.was_closed
        is_death = not self.was_closed and not isinstance(answer, LoadFailed)
        self.close()
        self.has_crashed = is_death
        with contextlib.suppress(OSError, BackendError):
            deque(self._incoming, maxlen=0)  # to its end, which closes its side of the socket
        if isinstance(answer, LoadFailed):
            raise LoadError(answer.message, hint=answer.hint)
        raise LoadError(f"the runner ended while it loaded the model: {self.obituary()}")

    def submit(self, request: Submitted, sink: Sink) -> None:
        """Send a request; its events go to ``sink``, called from the reader's thread.

        Raises:
            UsageError: the request cannot be sent; the sink is not called then.
        """
        self.submit_frame(request.request_id, frame_of(request), sink)

    def submit_frame(self, request_id: int, frame: bytes, sink: Sink) -> None:
        """Send a request that is encoded already."""
        with self._lock:
            is_over = self._is_over
            if not is_over:
                self._sinks[request_id] = sink
        if is_over:
            sink(self._death(request_id))
            return
        with contextlib.suppress(OSError):  # it is gone: its reader ends all requests
            self._send(frame)

    def cancel(self, request_id: int) -> None:
        """Ask for the end of a request; one that has ended is left alone."""
        if request_id in self._sinks:
            with contextlib.suppress(OSError):
                self._send(encode(Cancel(request_id=request_id)))

    def ping(self) -> None:
        """Ask for a sign of life; it is in `pulse` soon."""
        self.pulse.asked()
        if self._sending.acquire(blocking=False):  # else a large request is on its way
            try:
                with contextlib.suppress(OSError):
                    self._socket.send(encode(Ping()), socket.MSG_DONTWAIT)
            finally:
                self._sending.release()

    def kill(self, reason: str) -> None:
        """End a process that does not work any more; its requests are told the reason."""
        self._killed_for = reason
        self._process.kill()

    def close(self, *, grace_s: float = GRACE_S, reason: str = "it was unloaded") -> None:
        """End the process, by force after ``grace_s``; blocks until all its requests have ended."""
        self._closed_for = self._closed_for if self.was_closed else reason
        self.was_closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._end_requests(grace_s)
        self._socket.close()

    def _send(self, frame: bytes) -> None:
        with self._sending:
            self._socket.sendall(frame)

    def _read(self) -> None:
        try:
            for event in self._incoming:
                self._dispatch(event)
        except (OSError, BackendError) as error:
            _log.warning("the runner's messages broke off: %s", error)
            self._process.kill()
        finally:
            self._end_requests(GRACE_S)

    def _dispatch(self, event: Message) -> None:
        self.pulse.heard()
        if isinstance(event, Step):
            scores = dict(event.scores)
            for request_id, text in event.deltas:
                own = ((request_id, scores[request_id]),) if request_id in scores else ()
                self._pass_on(request_id, Step(deltas=((request_id, text),), scores=own))
        elif isinstance(event, Started):
            self._pass_on(event.request_id, event)
        elif isinstance(event, Terminal):
            with self._lock:
                sink = self._sinks.pop(event.request_id, None)
            if sink is not None:
                sink(event)
        else:
            self._note(event)

    def _note(self, event: Message) -> None:
        """Take what is said of the runner itself."""
        if isinstance(event, MemoryChanged):
            self.adapter_bytes = event.adapter_bytes
        elif isinstance(event, Stats):
            self.stats = event
        elif isinstance(event, Pong):
            self.pulse.felt(event)

    def _pass_on(self, request_id: int, event: Event) -> None:
        sink = self._sinks.get(request_id)
        if sink is not None:
            sink(event)

    def _end_requests(self, grace_s: float) -> None:
        """Take no more requests, and end the open ones once the process is gone."""
        with self._lock:
            if not self._is_over:
                self.has_crashed = not self.was_closed
            self._is_over = True
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log_thread.join(GRACE_S)
        with self._lock:
            orphans, self._sinks = self._sinks, {}
        for request_id, sink in orphans.items():
            sink(self._death(request_id))
        self.is_gone = True
        self._on_end()

    def _death(self, request_id: int) -> Failed:
        cause = self._closed_for if self.was_closed else f"its runner ended, {self.obituary()}"
        return Failed(
            request_id=request_id,
            code=RunnerDiedError.code,
            message=f"the model went away in the middle of the answer: {cause}",
            hint="ask again: the model is loaded anew",
        )

    def obituary(self) -> str:
        """Return how the process ended, with the last lines of its log."""
        if self._killed_for is not None:
            return self._killed_for
        code = self._process.poll()
        cause = f"exit code {code}"
        if code is not None and code < 0:
            cause = f"killed by {signal.Signals(-code).name}"
        told = [line for line in self._last_lines if line and not _is_traceback(line)][-TOLD_LINES:]
        return f"{cause}: {' / '.join(told)}" if told else cause

    def _keep_log(self) -> None:
        if self._process.stderr is None:
            return
        with self._process.stderr as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                self._last_lines.append(text)
                _log.warning("runner: %s", text)


def _is_traceback(line: str) -> bool:
    """Return whether a line of a log is Python's own, which tells a client nothing."""
    return line.startswith((" ", "Traceback "))


def frame_of(request: Submitted) -> bytes:
    """Return the frame of a request, which holds values that came from a network."""
    try:
        return encode(request)
    except (BackendError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"the request cannot be sent to the model: {error}") from error
