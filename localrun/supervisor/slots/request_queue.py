"""Request queue of one slot: FIFO per client, the least busy client first, the background last.

Owns a request from its submission to its single terminal event, and the handles by which a client
of the pool waits for it or cancels it. Requests that bypass the queue (tokenizing) wait beside it.
Exactly one terminal event leaves a `PendingRequest`: the slot ends a request that waits, the runner
ends a request that was sent to it. Not thread-safe: the lock of `SlotState` guards the queue.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.engine.params import FinishReason
from localrun.errors import error_named
from localrun.runner.messages import Failed, Finished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from localrun.errors import LocalrunError
    from localrun.runner.messages import Event
    from localrun.supervisor.model import KeepAlive, RunnerModel
    from localrun.supervisor.runner import Sink


@dataclass(slots=True, kw_only=True, eq=False)
class PendingRequest:
    """A submitted request; ``frame`` is None if only the load is requested.

    The lock of the slot's state guards the attributes that change.
    """

    request_id: int
    model: RunnerModel  # changes when the name is renamed
    frame: bytes | None
    sink: Sink
    client: str  # for fairness between clients
    num_ctx: int | None
    keep_alive: KeepAlive
    submitted_at: float
    bypasses_queue: bool = False  # answered at once, beside the requests that run
    pins: bool = False
    is_background: bool = False  # waits until no other request does
    load_s: float = 0.0  # the time that this request waited for the load
    is_cancelled: bool = False
    cancel_error: LocalrunError | None = None  # reported to the client in place of a cancel
    context: Context = field(default_factory=copy_context)  # has the request's id, for the log

    def finish(self, reason: FinishReason) -> None:
        """End a request that was not sent to a runner."""
        self.sink(
            Finished(
                request_id=self.request_id,
                reason=reason,
                prompt_tokens=0,
                cached_tokens=0,
                generated_tokens=0,
                queue_s=0.0,
                prompt_s=0.0,
                generation_s=0.0,
            )
        )

    def fail(self, error: LocalrunError) -> None:
        """End a request that was not sent to a runner with an error."""
        self.sink(self._failure(error))

    def forward(self, event: Event) -> None:
        """Pass an event of the runner to the sink; `cancel_error` replaces the end by a cancel."""
        error = self.cancel_error
        self.sink(event if error is None or not _is_cut_short(event) else self._failure(error))

    def _failure(self, error: LocalrunError) -> Failed:
        return Failed(
            request_id=self.request_id,
            code=error.code,
            message=error.message,
            hint=error.hint,
        )


@dataclass(frozen=True, slots=True)
class RequestHandle:
    """A submitted request as its client sees it."""

    request: PendingRequest
    on_cancel: Callable[[PendingRequest], None]

    @property
    def load_s(self) -> float:
        """Return the time that the request waited for the load; known at its first event."""
        return self.request.load_s

    def cancel(self) -> None:
        """Cancel the request, queued or running; do nothing if it has ended."""
        self.on_cancel(self.request)


class PendingLoad:
    """The sink of a request for a load, and its result."""

    def __init__(self) -> None:
        self._has_ended = threading.Event()
        self._end: Finished | Failed | None = None
        self.handle: RequestHandle | None = None  # set once the request is submitted

    def __call__(self, event: Event) -> None:
        """Receive the terminal event."""
        if isinstance(event, Finished | Failed):
            self._end = event
            self._has_ended.set()

    def wait(self) -> float:
        """Return the seconds that the load took; blocks.

        Raises:
            LocalrunError: the model does not load.
        """
        self._has_ended.wait()
        if isinstance(self._end, Failed):
            raise error_named(self._end.code, self._end.message, hint=self._end.hint)
        return self.handle.load_s if self.handle else 0.0


class RequestQueue:
    """Requests that wait for a load or for their turn.

    The next request is that of the client with the fewest running requests; ties go to the client
    that was served least recently, and each client's requests are first in, first out. Background
    requests wait until there are no others.
    """

    def __init__(self) -> None:
        # by whether they are background requests, and client; least recently served first
        self._by_client: dict[tuple[bool, str], deque[PendingRequest]] = {}
        self._bypassing: deque[PendingRequest] = deque()

    def __iter__(self) -> Iterator[PendingRequest]:
        yield from list(self._queued())
        yield from list(self._bypassing)

    @property
    def num_queued(self) -> int:
        """Return the number of requests that wait for their turn."""
        return sum(map(len, self._by_client.values()))

    @property
    def has_bypassing(self) -> bool:
        """Return whether a request waits that bypasses the queue."""
        return bool(self._bypassing)

    @property
    def has_interactive(self) -> bool:
        """Return whether a request waits for its turn that is not a background request."""
        return any(not is_background for is_background, _ in self._by_client)

    @property
    def is_empty(self) -> bool:
        """Return whether no request waits."""
        return not (self._by_client or self._bypassing)

    @property
    def max_num_ctx(self) -> int:
        """Return the largest context that a queued request needs, or 0."""
        return max((request.num_ctx or 0 for request in self._queued()), default=0)

    @property
    def following(self) -> PendingRequest | None:
        """Return the request that waits for its turn and is next while none runs, or None."""
        return next(self._queued(), None)

    def digests(self) -> dict[str, str]:
        """Return the digests of the models that queued requests name, by name."""
        return {request.model.name: request.model.digest for request in self._queued()}

    def num_queued_for(self, name: str) -> int:
        """Return the number of queued requests for a name."""
        return sum(request.model.name == name for request in self._queued())

    def add(self, request: PendingRequest) -> None:
        """Append a request."""
        if request.bypasses_queue:
            self._bypassing.append(request)
        else:
            self._by_client.setdefault(_key(request), deque()).append(request)

    def remove(self, request: PendingRequest) -> bool:
        """Remove a request; return whether it was waiting."""
        by_client = self._by_client.get(_key(request), deque())
        requests = self._bypassing if request.bypasses_queue else by_client
        is_waiting = request in requests
        if is_waiting:
            requests.remove(request)
        if not by_client:
            self._by_client.pop(_key(request), None)
        return is_waiting

    def take_name(self, name: str) -> list[PendingRequest]:
        """Remove and return all requests for a name."""
        return self._take([request for request in self if request.model.name == name])

    def take_draft(self, draft: tuple[Path, ...]) -> list[PendingRequest]:
        """Remove and return all requests for a draft model."""
        return self._take([request for request in self if request.model.draft == draft])

    def take_all(self) -> list[PendingRequest]:
        """Remove and return all requests."""
        requests = list(self)
        self._by_client, self._bypassing = {}, deque()
        return requests

    def take_bypassing(self) -> PendingRequest:
        """Remove and return the oldest request that bypasses the queue."""
        return self._bypassing.popleft()

    def take_next(self, num_running: Counter[str]) -> PendingRequest:
        """Remove and return the next request; ``num_running`` counts running requests by client."""
        key = min(self._by_client, key=lambda key: (key[0], num_running[key[1]]))
        requests = self._by_client.pop(key)
        request = requests.popleft()
        if requests:
            self._by_client[key] = requests  # behind all other clients
        return request

    def _take(self, requests: list[PendingRequest]) -> list[PendingRequest]:
        for request in requests:
            self.remove(request)
        return requests

    def _queued(self) -> Iterator[PendingRequest]:
        for key in sorted(self._by_client, key=lambda key: key[0]):  # background requests last
            yield from list(self._by_client[key])


def _key(request: PendingRequest) -> tuple[bool, str]:
    return request.is_background, request.client


def _is_cut_short(event: Event) -> bool:
    """Return whether an event ends a reply before it is complete."""
    is_cancelled = isinstance(event, Finished) and event.reason is FinishReason.CANCELLED
    return is_cancelled or isinstance(event, Failed)
