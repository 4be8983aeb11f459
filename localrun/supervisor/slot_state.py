"""State of one slot: its runner, its requests and its served names, behind one lock.

The only owner of that state: other modules read properties and call transitions. A transition
holds the lock, changes the state and notifies all waiting threads. It never calls a sink or a
blocking method of a runner: it returns the requests that the caller has to end without the lock.
Knows nothing of memory, processes and the pool.

    enqueue, cancel, expire_name, release_name,      threads of the server
    rename, remove_name, close, drain
    wait_for_action, *_load, *_runner, unloaded      the slot's worker
    finish, notify                                   the runner's reader
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from localrun.supervisor.request_queue import RequestQueue
from localrun.supervisor.served_names import ServedNames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.errors import LocalrunError
    from localrun.runner.messages import Ready
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.planning import PlannedLoad
    from localrun.supervisor.request_queue import PendingRequest
    from localrun.supervisor.runner import Runner
    from localrun.supervisor.served_names import ServedName

SETTLE_S = 10.0
LONGEST_WAIT_S = 86400.0  # of a worker, before it looks again whether a name has expired
AHEAD = 4  # requests sent beyond those that run in parallel, so that no sequence is idle


class SlotAction(Enum):
    """What the worker of a slot does next, besides sending a request."""

    LOAD = auto()
    UNLOAD = auto()
    REAP = auto()  # clean up after a runner that has ended by itself
    STOP = auto()  # nothing is left: the worker ends


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotLoad:
    """A load that succeeded."""

    ready: Ready
    planned: PlannedLoad
    num_ctx: int  # the largest that was requested, or that the runner has
    ready_at: float
    load_s: float  # the cost of an eviction


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedRequests:
    """Requests that a transition took out of a slot, for the caller to end."""

    waiting: tuple[PendingRequest, ...]  # were not sent to a runner
    running: tuple[PendingRequest, ...] = ()
    runner: Runner | None
    aborts_load: bool  # no other request waits for the load under way
    was_served: bool = False


class SlotState:
    """The state of one slot; all methods are safe from any thread."""

    def __init__(self, key: RunnerModel, clock: Callable[[], float]) -> None:
        self.key = key
        self._clock = clock
        # Guards all attributes below, the requests and the served names. Taken after the locks of
        # the pool and of the load queue; no other lock is taken under it.
        self._changed = threading.Condition()
        self._queue = RequestQueue()
        self._served = ServedNames()
        self._running: dict[int, PendingRequest] = {}  # by request id
        self._runner: Runner | None = None  # also while it loads
        self._loaded: SlotLoad | None = None
        self._loading_name = ""  # of the request that the runner was loaded for
        self._progress = 0.0
        self._last_use = clock()
        self._is_draining = False
        self._is_starting = False  # from the decision to load to the load's end
        self._is_closed = False
        self._is_settled = False  # the worker has nothing to do
        self._is_over = False  # the worker has ended

    @property
    def runner(self) -> Runner | None:
        """Return the runner, also while it loads."""
        return self._runner

    @property
    def loaded(self) -> SlotLoad | None:
        """Return the loaded model, or None if no runner is loaded and alive."""
        with self._changed:
            runner = self._runner
            return self._loaded if runner is not None and runner.is_alive else None

    @property
    def loading_name(self) -> str:
        """Return the name for which the runner was loaded."""
        return self._loading_name

    @property
    def progress(self) -> float:
        """Return the share of the weights that is loaded."""
        return self._progress

    @property
    def last_use(self) -> float:
        """Return when the last request ended."""
        return self._last_use

    @property
    def is_draining(self) -> bool:
        """Return whether the runner is unloaded once its requests have ended."""
        return self._is_draining

    @property
    def is_over(self) -> bool:
        """Return whether the slot takes no more requests because its worker has ended."""
        return self._is_over

    @property
    def is_wanted(self) -> bool:
        """Return whether requests wait that are to be answered."""
        with self._changed:
            return not (self._queue.is_empty or self._is_closed)

    @property
    def is_idle(self) -> bool:
        """Return whether a runner is loaded that no request uses or waits for."""
        with self._changed:
            return self.loaded is not None and not self._running and self._queue.is_empty

    @property
    def is_starting(self) -> bool:
        """Return whether a load waits in the load queue or is under way."""
        return self._is_starting

    @property
    def has_work(self) -> bool:
        """Return whether a load is under way or the runner has requests."""
        with self._changed:
            return self._is_starting or bool(self._running)

    @property
    def has_pin(self) -> bool:
        """Return whether a served name is pinned."""
        with self._changed:
            return self._served.has_pin

    @property
    def num_waiting(self) -> int:
        """Return the number of requests that wait for the load or for their turn."""
        with self._changed:
            return self._queue.num_queued

    def num_waiting_for(self, name: str) -> int:
        """Return the number of queued requests for a name."""
        with self._changed:
            return self._queue.num_queued_for(name)

    def waiting_requests(self) -> list[PendingRequest]:
        """Return the requests that wait, the next ones first."""
        with self._changed:
            return list(self._queue)

    def waiting_digests(self) -> dict[str, str]:
        """Return the digests of the models that queued requests name, by name."""
        with self._changed:
            return self._queue.digests()

    def served_names(self) -> dict[str, ServedName]:
        """Return the served names, the oldest first."""
        with self._changed:
            return self._served.by_name

    def names(self) -> set[str]:
        """Return the served names and those of all requests."""
        with self._changed:
            requests = (*self._queue, *self._running.values())
            return {*self._served.by_name, *(request.model.name for request in requests)}

    # Transitions of the server's threads

    def enqueue(self, request: PendingRequest) -> bool:
        """Add a request; return False if the slot takes no more."""
        with self._transition():
            if self._is_over or self._is_closed:
                return False
            self._queue.add(request)
            return True

    def cancel(self, request: PendingRequest) -> RemovedRequests:
        """Mark a request as cancelled and remove it from the queue."""
        with self._transition():
            request.is_cancelled = True
            was_waiting = self._queue.remove(request)
            return self._removed([request] if was_waiting else [], [] if was_waiting else [request])

    def expire_name(self, name: str) -> RemovedRequests:
        """Let a name expire when its requests have ended; remove those that wait for its load."""
        with self._transition():
            is_loaded = self.loaded is not None
            was_served = self._served.expire(name, self._clock()) and is_loaded
            waiting = [] if is_loaded else self._queue.take_name(name)
            return replace(self._removed(waiting), was_served=was_served)

    def release_name(self, name: str, digest: str) -> bool:
        """Let a name that means another model now expire; return whether it was pinned.

        Do nothing if the name has another digest: a request for the new model has come meanwhile.
        """
        with self._transition():
            served = self._served.by_name.get(name)
            if served is None or served.digest != digest:
                return False
            self._served.expire(name, self._clock())
            self._served.drop_expired(self._clock())  # at once: `ps` is about to read it
            return served.is_pinned

    def rename(self, source: str, target: str, digest: str | None = None) -> None:
        """Replace a name, and its digest unless None, in requests and served names."""
        with self._transition():
            if source != target:
                self._served.rename(source, target)
            if self._loading_name == source:
                self._loading_name = target
            if digest is not None:
                self._served.set_digest(target, digest)
            for request in self._requests_for(source):
                model = request.model
                request.model = replace(model, name=target, digest=digest or model.digest)

    def remove_name(self, name: str, error: LocalrunError) -> RemovedRequests:
        """Let a name expire and cancel all its requests; the running ones end with ``error``."""
        with self._transition():
            self._served.expire(name, self._clock())
            waiting = self._queue.take_name(name)
            running = self._requests_for(name)
            for request in running:
                request.is_cancelled, request.cancel_error = True, error
            return self._removed(waiting, running)

    def wait_until_removed(self, name: str, timeout_s: float) -> Runner | None:
        """Block until no request for a name is left.

        After ``timeout_s``, return the runner if it still works for this name and for no other.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._requests_for(name), timeout_s)
            num_left = len(self._requests_for(name))
            is_alone = num_left == len(self._running) and not self.is_wanted
            return self._runner if num_left and is_alone else None

    def drain(self) -> None:
        """Send no more requests, and unload once the running ones have ended.

        Do nothing if no runner is loaded, or if a name was pinned meanwhile.
        """
        with self._transition():
            self._is_draining = self._loaded is not None and not self._served.has_pin

    def close(self) -> RemovedRequests:
        """Refuse further requests and remove those that wait."""
        with self._transition():
            self._is_closed = True
            return self._removed(self._queue.take_all())

    def notify(self) -> None:
        """Let the worker check what is due: its runner has ended."""
        with self._transition():
            pass

    def settle(self) -> None:
        """Block until the worker has performed all due actions, or is loading.

        What is due: unloading after a keep-alive or a crash, and sending requests.
        """
        with self._changed:
            self.notify()
            self._changed.wait_for(
                lambda: self._is_settled or self._is_over or self._is_starting, SETTLE_S
            )

    # Transitions of the worker and of the runner's reader

    def wait_for_action(self) -> SlotAction | PendingRequest:
        """Return the worker's next action, or the request to send next; blocks.

        The state changes together with the decision: a request counts as running, a load as
        starting, and after `SlotAction.STOP` the slot takes no more requests.
        """
        with self._changed:
            while True:
                with self._transition():
                    action = self._next_action()
                    self._is_settled = action is None
                if action is not None:
                    return action
                self._changed.wait_for(lambda: not self._is_settled, self._until_expiry_s())

    def begin_runner(self, runner: Runner, name: str) -> bool:
        """Add a runner that is about to load for a name; return whether a request still waits."""
        with self._transition():
            self._runner, self._loading_name = runner, name
            return self.is_wanted

    def set_progress(self, fraction: float) -> None:
        """Record the share of the weights that is loaded."""
        with self._transition():
            self._progress = fraction

    def complete_load(self, loaded: SlotLoad) -> None:
        """Record a load that succeeded, and how long each request has waited for it."""
        with self._transition():
            self._loaded = loaded
            for request in self._queue:
                request.load_s = loaded.ready_at - request.submitted_at

    def fail_load(self) -> list[PendingRequest]:
        """Remove and return the requests that waited for a load that failed."""
        with self._transition():
            self._is_draining = False
            return self._queue.take_all()

    def end_load(self) -> None:
        """Record that no load is under way any more."""
        with self._transition():
            self._is_starting = False

    def drop_runner(self) -> None:
        """Remove a runner that did not load."""
        with self._transition():
            self._runner = None

    def unloaded(self) -> None:
        """Remove a runner that has ended, and the served names that no request uses."""
        with self._transition():
            self._runner, self._loaded, self._is_draining = None, None, False
            self._served.drop_idle()

    def finish(self, request: PendingRequest) -> None:
        """Record the end of a request that was running."""
        with self._transition():
            del self._running[request.request_id]
            self._last_use = self._clock()
            seconds = request.keep_alive.seconds
            expires_at = None if seconds is None else self._last_use + seconds
            self._served.close(request.model.name, expires_at)

    @contextmanager
    def _transition(self) -> Iterator[None]:
        """Hold the lock for a change, then let all waiting threads look at the state again."""
        with self._changed:
            self._is_settled = False
            try:
                yield
            finally:
                self._changed.notify_all()

    def _until_expiry_s(self) -> float | None:
        """Return the seconds until the next name of a live runner expires, or None if none does."""
        expires_at = self._served.next_expiry
        if expires_at is None or self._runner is None or not self._runner.is_alive:
            return None
        return min(expires_at - self._clock(), LONGEST_WAIT_S)

    def _requests_for(self, name: str) -> list[PendingRequest]:
        requests = (*self._queue, *self._running.values())
        return [request for request in requests if request.model.name == name]

    def _removed(
        self, waiting: list[PendingRequest], running: list[PendingRequest] | None = None
    ) -> RemovedRequests:
        return RemovedRequests(
            waiting=tuple(waiting),
            running=tuple(running or ()),
            runner=self._runner,
            aborts_load=self._loaded is None and not self.is_wanted,
        )

    def _next_action(self) -> SlotAction | PendingRequest | None:
        runner = self._runner
        if runner is None:
            return self._next_without_runner()
        if not runner.is_alive:
            return SlotAction.REAP if runner.is_gone else None
        has_expired = self._served.drop_expired(self._clock())
        may_unload = self._is_draining or (has_expired and not self.is_wanted)
        if may_unload and not self._running:
            return SlotAction.UNLOAD
        return None if self._is_draining else self._next_of_queue()

    def _next_without_runner(self) -> SlotAction | None:
        if self.is_wanted:
            return self._start_load()
        if not (self._is_closed or self._served.drop_expired(self._clock())):
            return None  # a pinned name waits for its next request
        self._is_over = True
        return SlotAction.STOP

    def _next_of_queue(self) -> SlotAction | PendingRequest | None:
        if self._queue.has_bypassing:
            return self._start_request(self._queue.take_bypassing())
        if not self.is_wanted or self._loaded is None:
            return None
        if not self._running and self._queue.max_num_ctx > self._loaded.num_ctx:
            return self._start_load()
        if self._queue.num_queued and len(self._running) < self._loaded.ready.num_parallel + AHEAD:
            by_client = Counter(request.client for request in self._running.values())
            return self._start_request(self._queue.take_next(by_client))
        return None

    def _start_load(self) -> SlotAction:
        self._is_starting, self._progress = True, 0.0
        return SlotAction.LOAD

    def _start_request(self, request: PendingRequest) -> PendingRequest:
        model = request.model
        self._served.open(model.name, model.digest, request.keep_alive, pins=request.pins)
        self._running[request.request_id] = request
        return request
