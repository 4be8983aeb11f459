"""Connection to one runner process: load, submit, cancel, close.

Blocking and thread-safe. A reader thread passes each event to the sink of its request. Every
submitted request gets exactly one `Terminal`, also when the process dies.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING

from localrun.errors import BackendError, LoadError, NetworkError, RunnerDiedError, UsageError
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
    ProjectorUse,
    Ready,
    Started,
    Stats,
    Step,
    Terminal,
    WorkerLost,
)
from localrun.supervisor.heartbeat import Heartbeat
from localrun.supervisor.runner_process import RunnerProcess
from localrun.supervisor.worker_offers import TakenWorkers
from localrun.warm.transport import send_at_once
from localrun.workers.handover import send_with_links

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.errors import LocalrunError
    from localrun.runner.frames import Message
    from localrun.runner.messages import Event, Submitted
    from localrun.supervisor.runner_process import StartProcess

    Sink = Callable[[Event], None]

_log = logging.getLogger(__name__)

GRACE_S = 3.0
WORKER_HINT = "localrun doctor   asks all workers"


class Runner:
    """A child process that holds one model."""

    def __init__(
        self,
        start: StartProcess,
        on_end: Callable[[], None] = lambda: None,
        workers: TakenWorkers | None = None,
    ) -> None:
        self._on_end = on_end  # called when the process and all its requests have ended
        self._workers = workers or TakenWorkers()  # ended with the runner
        self._lost_worker: str | None = None  # why the runner ended, if a worker did
        self._process = RunnerProcess(start)
        self._socket = self._process.socket
        self._incoming: Iterator[Message] = read_messages(self._socket)
        # Two locks, never held together: a sender may wait until the runner reads, and the reader
        # thread must not wait for the sender.
        self._sending = threading.Lock()  # guards writes to the socket
        self._lock = threading.Lock()  # guards `_sinks` and `_is_over`
        self._sinks: dict[int, Sink] = {}
        self._is_over = False
        self._close_reason = "it was unloaded"
        self.is_gone = False  # the process and all requests have ended
        self.was_closed = False
        self.was_load_aborted = False  # closed while it loaded
        self.has_crashed = False  # ended without `close`
        self.projector_path: str | None = None
        self.uses_projector = False  # now: if the process aborts, the projector is the cause
        self.adapter_bytes = 0  # of the adapters that it has loaded
        self.stats = Stats()  # the last that it reported
        self.heartbeat = Heartbeat()

    @property
    def is_alive(self) -> bool:
        """Return whether requests can be submitted."""
        return not self._is_over

    def load(self, load: Load, on_progress: Callable[[float], None] = lambda _: None) -> Ready:
        """Load the model; blocks until it is ready or the runner is closed.

        Raises:
            LoadError: the model does not load, or the process died while it loaded.
            NetworkError: a worker was lost; a smaller plan would not help.
        """
        message: Message | None = None
        self.projector_path = load.projector_path
        try:
            with self._sending:
                send_with_links(self._socket, encode(load), self._workers.links)
            self._workers.release()
            for message in self._incoming:
                self.heartbeat.record_message()
                if isinstance(message, ProjectorUse):
                    self.uses_projector = message.is_begun
                elif isinstance(message, LoadProgress):
                    on_progress(message.fraction)
                else:
                    break
        except (OSError, BackendError) as error:
            _log.warning("the connection to the runner broke: %s", error)
        if isinstance(message, Ready) and not self.was_closed:
            threading.Thread(target=self._read, name="runner-reader", daemon=True).start()
            return message
        self.was_load_aborted = self.was_closed
        has_died = not self.was_closed and not isinstance(message, LoadFailed | WorkerLost)
        if isinstance(message, WorkerLost):
            self._record_loss(message)
        self.close()
        self.has_crashed = has_died
        with contextlib.suppress(OSError, BackendError):
            deque(self._incoming, maxlen=0)  # to its end, which closes its side of the socket
        raise self._load_error(message)

    def submit(self, request: Submitted, sink: Sink) -> None:
        """Send a request; the reader thread passes its events to ``sink``.

        Raises:
            UsageError: the request cannot be encoded; the sink is not called then.
        """
        self.submit_frame(request.request_id, encode_request(request), sink)

    def submit_frame(self, request_id: int, frame: bytes, sink: Sink) -> None:
        """Send an encoded request."""
        with self._lock:
            is_over = self._is_over
            if not is_over:
                self._sinks[request_id] = sink
        if is_over:
            sink(self._died(request_id))
            return
        with contextlib.suppress(OSError):  # the process has ended: its reader ends all requests
            self._send(frame)

    def cancel(self, request_id: int) -> None:
        """Ask the runner to end a request; do nothing if the request has ended."""
        if request_id in self._sinks:
            with contextlib.suppress(OSError):
                self._send(encode(Cancel(request_id=request_id)))

    def ping(self) -> None:
        """Request a `Pong`, which `heartbeat` receives; does not block."""
        self.heartbeat.record_ping()
        if self._sending.acquire(blocking=False):  # else a large request is being sent
            try:
                with contextlib.suppress(OSError):
                    send_at_once(self._socket, encode(Ping()))
            finally:
                self._sending.release()

    def kill(self, reason: str) -> None:
        """Kill a process that hangs; its requests fail with the reason."""
        self._process.kill(reason)

    def close(self, *, grace_s: float = GRACE_S, reason: str = "it was unloaded") -> None:
        """End the process, by force after ``grace_s``; blocks until all its requests have ended."""
        self._close_reason = self._close_reason if self.was_closed else reason
        self.was_closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._end_requests(grace_s)
        self._socket.close()

    @property
    def failed_projector(self) -> str | None:
        """Return the projector's path if the process ended itself while it used the projector."""
        is_cause = self.has_crashed and self.uses_projector and self._process.has_aborted
        return self.projector_path if is_cause else None

    def exit_reason(self) -> str:
        """Return how the process ended, with the last lines of its log."""
        return self._process.exit_reason()

    def _load_error(self, message: Message | None) -> LocalrunError:
        """Return why a load failed, whose last message this is."""
        if isinstance(message, LoadFailed):
            return LoadError(message.message, hint=message.hint)
        if self._lost_worker is not None:
            return NetworkError(self._lost_worker, hint=WORKER_HINT)
        return LoadError(f"the runner ended while it loaded the model: {self.exit_reason()}")

    def _send(self, frame: bytes) -> None:
        with self._sending:
            self._socket.sendall(frame)

    def _read(self) -> None:
        try:
            for message in self._incoming:
                self._dispatch(message)
        except (OSError, BackendError) as error:
            _log.warning("the connection to the runner broke: %s", error)
            self._process.kill()
        finally:
            self._end_requests(GRACE_S)

    def _dispatch(self, message: Message) -> None:
        self.heartbeat.record_message()
        if isinstance(message, Step):
            scores = dict(message.scores)
            for request_id, text in message.deltas:
                own = ((request_id, scores[request_id]),) if request_id in scores else ()
                self._forward(request_id, Step(deltas=((request_id, text),), scores=own))
        elif isinstance(message, Started):
            self._forward(message.request_id, message)
        elif isinstance(message, Terminal):
            with self._lock:
                sink = self._sinks.pop(message.request_id, None)
            if sink is not None:
                sink(message)
        else:
            self._record(message)

    def _record(self, message: Message) -> None:
        """Record what the runner reports of itself."""
        if isinstance(message, MemoryChanged):
            self.adapter_bytes = message.adapter_bytes
        elif isinstance(message, ProjectorUse):
            self.uses_projector = message.is_begun
        elif isinstance(message, Stats):
            self.stats = message
        elif isinstance(message, Pong):
            self.heartbeat.record_pong(message)
        elif isinstance(message, WorkerLost):
            self._record_loss(message)

    def _record_loss(self, message: WorkerLost) -> None:
        """Record that the runner ends because a worker did; may block for a second."""
        reason = self._workers.end_reason(message.worker, message.reason)
        self._lost_worker = f"the worker `{message.worker}` was lost: {reason}"

    def _forward(self, request_id: int, event: Event) -> None:
        sink = self._sinks.get(request_id)
        if sink is not None:
            sink(event)

    def _end_requests(self, grace_s: float) -> None:
        """Refuse further requests, and end the open ones after the process has ended."""
        with self._lock:
            if not self._is_over:
                self.has_crashed = not self.was_closed and self._lost_worker is None
            self._is_over = True
        self._process.wait(grace_s)
        with self._lock:
            orphans, self._sinks = self._sinks, {}
        for request_id, sink in orphans.items():
            sink(self._died(request_id))
        # last, since a worker may be slow to end; one that was lost will not end by itself
        self._workers.end(is_forced=self._lost_worker is not None or grace_s == 0.0)
        self.is_gone = True
        self._on_end()

    def _died(self, request_id: int) -> Failed:
        reason = self._close_reason
        if self._lost_worker is not None:
            reason = self._lost_worker
        elif not self.was_closed:
            reason = f"its runner ended, {self.exit_reason()}"
        return Failed(
            request_id=request_id,
            code=RunnerDiedError.code,
            message=f"the model stopped in the middle of the answer: {reason}",
            hint="retry: the model is loaded again",
        )


def encode_request(request: Submitted) -> bytes:
    """Return the frame of a request.

    Raises:
        UsageError: a value, which may come from a network, cannot be encoded.
    """
    try:
        return encode(request)
    except (BackendError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"the request cannot be sent to the model: {error}") from error
