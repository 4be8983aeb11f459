"""Contents of one slot, and what is due by them: its runner, its requests and its served names.

Has no lock: `SlotState` alone uses it, and changes it only within its transitions. Knows nothing of
threads, memory and the pool.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from localrun.supervisor.draft_choice import needs_other_draft
from localrun.supervisor.slots.request_queue import RequestQueue
from localrun.supervisor.slots.served_names import ServedNames

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import Ready
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.planning import PlannedLoad
    from localrun.supervisor.runner import Runner
    from localrun.supervisor.slots.request_queue import PendingRequest

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
    model: RunnerModel  # of the request that the runner was loaded for
    num_ctx: int  # the largest that was requested, or that the runner has
    ready_at: float
    load_s: float  # the cost of an eviction

    def is_short_of(self, queue: RequestQueue) -> bool:
        """Return whether the next requests need a larger context or another draft model."""
        following = queue.following
        return queue.max_num_ctx > self.num_ctx or (
            following is not None
            and needs_other_draft(following.model, self.model, self.planned.load.draft_paths)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedRequests:
    """Requests that a transition took out of a slot, for the caller to end."""

    waiting: tuple[PendingRequest, ...]  # were not sent to a runner
    running: tuple[PendingRequest, ...] = ()
    runner: Runner | None
    aborts_load: bool  # no other request waits for the load under way
    was_served: bool = False


class SlotContents:
    """What one slot has, and what its worker does next."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.queue = RequestQueue()
        self.served = ServedNames()
        self.running: dict[int, PendingRequest] = {}  # by request id
        self.runner: Runner | None = None  # also while it loads
        self.loaded: SlotLoad | None = None  # also if the runner has ended since
        self.loading_name = ""  # of the request that the runner was loaded for
        self.progress = 0.0
        self.last_use = clock()
        self.is_draining = False
        self.is_starting = False  # from the decision to load to the load's end
        self.is_closed = False
        self.is_over = False  # the worker has ended

    @property
    def live_load(self) -> SlotLoad | None:
        """Return the loaded model, or None if no runner is loaded and alive."""
        return self.loaded if self.runner is not None and self.runner.is_alive else None

    @property
    def is_wanted(self) -> bool:
        """Return whether requests wait that are to be answered."""
        return not (self.queue.is_empty or self.is_closed)

    @property
    def is_idle(self) -> bool:
        """Return whether a runner is loaded that no request uses or waits for."""
        return self.live_load is not None and not self.running and self.queue.is_empty

    def requests(self) -> tuple[PendingRequest, ...]:
        """Return the requests that wait and those that run."""
        return (*self.queue, *self.running.values())

    def requests_for(self, name: str) -> list[PendingRequest]:
        """Return the requests for a name that wait and those that run."""
        return [request for request in self.requests() if request.model.name == name]

    def removed(
        self, waiting: list[PendingRequest], running: list[PendingRequest] | None = None
    ) -> RemovedRequests:
        """Return requests that have been removed, with what their end means for the runner."""
        return RemovedRequests(
            waiting=tuple(waiting),
            running=tuple(running or ()),
            runner=self.runner,
            aborts_load=self.loaded is None and not self.is_wanted,
        )

    def release_name(self, name: str, digest: str) -> bool:
        """Let a name with this digest expire at once; return whether it was pinned."""
        served = self.served.by_name.get(name)
        if served is None or served.digest != digest:
            return False
        self.served.expire(name, self._clock())
        self.served.drop_expired(self._clock())  # at once: `ps` is about to read it
        return served.is_pinned

    def rename(self, source: str, target: str, digest: str | None) -> None:
        """Replace a name, and its digest unless None, in requests and served names."""
        if source != target:
            self.served.rename(source, target)
        if self.loading_name == source:
            self.loading_name = target
        if self.loaded is not None and self.loaded.model.name == source:
            self.loaded = replace(self.loaded, model=replace(self.loaded.model, name=target))
        if digest is not None:
            self.served.set_digest(target, digest)
        for request in self.requests_for(source):
            model = request.model
            request.model = replace(model, name=target, digest=digest or model.digest)

    def finish(self, request: PendingRequest) -> None:
        """Remove a request that was running."""
        del self.running[request.request_id]
        self.last_use = self._clock()
        seconds = request.keep_alive.seconds
        expires_at = None if seconds is None else self.last_use + seconds
        self.served.close(request.model.name, expires_at)

    def until_expiry_s(self) -> float | None:
        """Return the seconds until the next name of a live runner expires, or None if none does."""
        expires_at = self.served.next_expiry
        if expires_at is None or self.runner is None or not self.runner.is_alive:
            return None
        return min(expires_at - self._clock(), LONGEST_WAIT_S)

    def begin_next_action(self) -> SlotAction | PendingRequest | None:
        """Return the worker's next action or the request to send next, None if nothing is due.

        The contents change with it: a request counts as running, a load as starting.
        """
        runner = self.runner
        if runner is None:
            return self._next_without_runner()
        if not runner.is_alive:
            return SlotAction.REAP if runner.is_gone else None
        has_expired = self.served.drop_expired(self._clock())
        may_unload = self.is_draining or (has_expired and not self.is_wanted)
        if may_unload and not self.running:
            return SlotAction.UNLOAD
        return None if self.is_draining else self._next_of_queue()

    def _next_without_runner(self) -> SlotAction | None:
        if self.is_wanted:
            return self._start_load()
        if not (self.is_closed or self.served.drop_expired(self._clock())):
            return None  # a pinned name waits for its next request
        self.is_over = True
        return SlotAction.STOP

    def _next_of_queue(self) -> SlotAction | PendingRequest | None:
        if self.queue.has_bypassing:
            return self._start_request(self.queue.take_bypassing())
        if not self.is_wanted or self.loaded is None:
            return None
        if not self.running and self.loaded.is_short_of(self.queue):
            return self._start_load()
        if self.queue.num_queued and self._num_ahead() < self.loaded.ready.num_parallel + AHEAD:
            by_client = Counter(request.client for request in self.running.values())
            return self._start_request(self.queue.take_next(by_client))
        return None

    def _num_ahead(self) -> int:
        """Return how many running requests do not give way to the next one."""
        if not self.queue.has_interactive:
            return len(self.running)
        return sum(not request.is_background for request in self.running.values())

    def _start_load(self) -> SlotAction:
        self.is_starting, self.progress = True, 0.0
        return SlotAction.LOAD

    def _start_request(self, request: PendingRequest) -> PendingRequest:
        model = request.model
        self.served.open(model.name, model.digest, request.keep_alive, pins=request.pins)
        self.running[request.request_id] = request
        return request
