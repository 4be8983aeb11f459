"""One runner process as the server sees it: load, submit, cancel, close.

Blocking and thread-safe. A reader thread passes each event to the sink of its
request; every submitted request gets exactly one `Finished` or `Failed`, also
when the process dies.
"""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import threading
from collections import deque
from typing import TYPE_CHECKING

from localrun.errors import BackendError, LoadError
from localrun.runner.frames import encode, read_messages
from localrun.runner.messages import (
    Cancel,
    Exit,
    Failed,
    Finished,
    Load,
    LoadFailed,
    Progress,
    Ready,
    Started,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.runner.frames import Message
    from localrun.runner.messages import Event, Generate, Request

    Start = Callable[[socket.socket], subprocess.Popen[bytes]]
    Sink = Callable[[Event], None]

_log = logging.getLogger(__name__)

KEPT_LINES = 20
GRACE_S = 3.0


class Runner:
    """A child process with a loaded model."""

    def __init__(self, start: Start) -> None:
        self._socket, child_end = socket.socketpair()
        with child_end:
            self._process = start(child_end)
        self._incoming: Iterator[Message] = read_messages(self._socket)
        self._lock = threading.Lock()
        self._sinks: dict[int, Sink] = {}
        self._is_dead = False
        self._last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._log_thread = threading.Thread(target=self._keep_log, name="runner-log", daemon=True)
        self._log_thread.start()

    @property
    def is_alive(self) -> bool:
        """Tell whether requests can be submitted."""
        return not self._is_dead

    @property
    def num_open(self) -> int:
        """Return the number of requests that have not ended."""
        return len(self._sinks)

    def load(self, load: Load, on_progress: Callable[[float], None] | None = None) -> Ready:
        """Load the model; blocks until it is ready.

        Raises:
            LoadError: it does not load, or the process died over it.
        """
        answer: Message | None = None
        try:
            self._send(load)
            for answer in self._incoming:
                if not isinstance(answer, Progress):
                    break
                if on_progress is not None:
                    on_progress(answer.fraction)
        except OSError as error:
            _log.debug("the runner's socket broke: %s", error)
        if isinstance(answer, Ready):
            threading.Thread(target=self._read, name="runner-reader", daemon=True).start()
            return answer
        self.close()
        if isinstance(answer, LoadFailed):
            raise LoadError(answer.message, hint=answer.hint)
        raise LoadError(f"the runner ended while it loaded the model: {self._obituary()}")

    def submit(self, request: Generate, sink: Sink) -> None:
        """Send a request; its events go to ``sink``, called from the reader's thread."""
        with self._lock:
            if not self._is_dead:
                self._sinks[request.request_id] = sink
        if request.request_id not in self._sinks:
            sink(self._death(request.request_id))
            return
        try:
            self._send(request)
        except OSError:
            _log.debug("the runner is gone; its reader tells all requests")
        except BackendError as error:
            self._end(Failed(request_id=request.request_id, code=error.code, message=error.message))

    def cancel(self, request_id: int) -> None:
        """Ask for the end of a request; one that has ended is left alone."""
        if request_id in self._sinks:
            try:
                self._send(Cancel(request_id=request_id))
            except OSError:
                _log.debug("the runner is gone; its reader tells all requests")

    def close(self) -> None:
        """End the process, kindly first; blocks until it is gone."""
        try:
            self._send(Exit())
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            _log.debug("the runner is gone already")
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log_thread.join(GRACE_S)
        self._mark_dead()
        self._socket.close()

    def _send(self, request: Request) -> None:
        frame = encode(request)
        with self._lock:
            self._socket.sendall(frame)

    def _read(self) -> None:
        try:
            for event in self._incoming:
                self._dispatch(event)
        except (OSError, BackendError) as error:
            _log.warning("the runner's messages broke off: %s", error)
            self._process.kill()
        self._process.wait()
        self._log_thread.join(GRACE_S)
        self._mark_dead()

    def _dispatch(self, event: Message) -> None:
        if isinstance(event, Step):
            for request_id, text in event.deltas:
                sink = self._sinks.get(request_id)
                if sink is not None:
                    sink(Step(deltas=((request_id, text),)))
        elif isinstance(event, Started):
            sink = self._sinks.get(event.request_id)
            if sink is not None:
                sink(event)
        elif isinstance(event, Finished | Failed):
            self._end(event)

    def _end(self, event: Finished | Failed) -> None:
        with self._lock:
            sink = self._sinks.pop(event.request_id, None)
        if sink is not None:
            sink(event)

    def _mark_dead(self) -> None:
        """Give every request that is still open its end."""
        with self._lock:
            self._is_dead = True
            orphans, self._sinks = self._sinks, {}
        for request_id, sink in orphans.items():
            sink(self._death(request_id))

    def _death(self, request_id: int) -> Failed:
        return Failed(
            request_id=request_id,
            code="runner_died",
            message=f"the model's runner ended in the middle of the answer: {self._obituary()}",
            hint="ask again: the model is loaded anew",
        )

    def _obituary(self) -> str:
        code = self._process.poll()
        cause = f"exit code {code}"
        if code is not None and code < 0:
            cause = f"killed by {signal.Signals(-code).name}"
        return f"{cause}: {self._last_lines[-1]}" if self._last_lines else cause

    def _keep_log(self) -> None:
        if self._process.stderr is None:
            return
        with self._process.stderr as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                self._last_lines.append(text)
                _log.warning("runner: %s", text)
