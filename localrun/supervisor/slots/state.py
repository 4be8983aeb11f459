"""State of one slot: its runner, its requests and its served names, behind one lock.

The only owner of that state: other modules read properties and call transitions. A transition
holds the lock, changes the state and notifies all waiting threads. It never calls a sink or a
blocking method of a runner: it returns the requests that the caller has to end without the lock.
`SlotContents` has what the lock guards, and decides what is due. Knows nothing of memory, processes
and the pool.

    enqueue, cancel, expire_name, release_name,      threads of the server
    rename, remove_name, close, drain
    wait_for_action, *_load, *_runner, unloaded      the slot's worker
    finish, notify                                   the runner's reader
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.supervisor.slots.contents import SlotContents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from localrun.errors import LocalrunError
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.runner import Runner
    from localrun.supervisor.slots.contents import RemovedRequests, SlotAction, SlotLoad
    from localrun.supervisor.slots.request_queue import PendingRequest
    from localrun.supervisor.slots.served_names import ServedName

SETTLE_S = 10.0


class SlotState:
    """The state of one slot; all methods are safe from any thread."""

    def __init__(self, key: RunnerModel, clock: Callable[[], float]) -> None:
        self.key = key
        self._clock = clock
        # Guards what follows, the requests and the served names. Taken after the locks of
        # the pool and of the load queue; no other lock is taken under it.
        self._changed = threading.Condition()
        self._contents = SlotContents(clock)
        self._is_settled = False  # the worker has nothing to do

    @property
    def runner(self) -> Runner | None:
        """Return the runner, also while it loads."""
        return self._contents.runner

    @property
    def loaded(self) -> SlotLoad | None:
        """Return the loaded model, or None if no runner is loaded and alive."""
        with self._changed:
            return self._contents.live_load

    @property
    def loading_name(self) -> str:
        """Return the name for which the runner was loaded."""
        return self._contents.loading_name

    @property
    def progress(self) -> float:
        """Return the share of the weights that is loaded."""
        return self._contents.progress

    @property
    def last_use(self) -> float:
        """Return when the last request ended."""
        return self._contents.last_use

    @property
    def is_draining(self) -> bool:
        """Return whether the runner is unloaded once its requests have ended."""
        return self._contents.is_draining

    @property
    def is_over(self) -> bool:
        """Return whether the slot takes no more requests because its worker has ended."""
        return self._contents.is_over

    @property
    def is_wanted(self) -> bool:
        """Return whether requests wait that are to be answered."""
        with self._changed:
            return self._contents.is_wanted

    @property
    def is_idle(self) -> bool:
        """Return whether a runner is loaded that no request uses or waits for."""
        with self._changed:
            return self._contents.is_idle

    @property
    def is_starting(self) -> bool:
        """Return whether a load waits in the load queue or is under way."""
        return self._contents.is_starting

    @property
    def is_changing(self) -> bool:
        """Return whether a runner loads or ends, so that its memory is about to change."""
        with self._changed:
            return self._contents.runner is not None and self._contents.live_load is None

    @property
    def has_work(self) -> bool:
        """Return whether a load is under way or the runner has requests."""
        with self._changed:
            return self._contents.is_starting or bool(self._contents.running)

    @property
    def has_pin(self) -> bool:
        """Return whether a served name is pinned."""
        with self._changed:
            return self._contents.served.has_pin

    @property
    def num_waiting(self) -> int:
        """Return the number of requests that wait for the load or for their turn."""
        with self._changed:
            return self._contents.queue.num_queued

    def num_waiting_for(self, name: str) -> int:
        """Return the number of queued requests for a name."""
        with self._changed:
            return self._contents.queue.num_queued_for(name)

    def waiting_requests(self) -> list[PendingRequest]:
        """Return the requests that wait, the next ones first."""
        with self._changed:
            return list(self._contents.queue)

    def waiting_digests(self) -> dict[str, str]:
        """Return the digests of the models that queued requests name, by name."""
        with self._changed:
            return self._contents.queue.digests()

    def served_names(self) -> dict[str, ServedName]:
        """Return the served names, the oldest first."""
        with self._changed:
            return self._contents.served.by_name

    def names(self) -> set[str]:
        """Return the served names and those of all requests."""
        with self._changed:
            requested = {request.model.name for request in self._contents.requests()}
            return {*self._contents.served.by_name, *requested}

    # Transitions of the server's threads

    def enqueue(self, request: PendingRequest) -> bool:
        """Add a request; return False if the slot takes no more."""
        with self._transition() as contents:
            if contents.is_over or contents.is_closed:
                return False
            contents.queue.add(request)
            return True

    def cancel(self, request: PendingRequest) -> RemovedRequests:
        """Mark a request as cancelled and remove it from the queue."""
        with self._transition() as contents:
            request.is_cancelled = True
            was_waiting = contents.queue.remove(request)
            waiting, running = ([request], []) if was_waiting else ([], [request])
            return contents.removed(waiting, running)

    def expire_name(self, name: str) -> RemovedRequests:
        """Let a name expire when its requests have ended; remove those that wait for its load."""
        with self._transition() as contents:
            is_loaded = contents.live_load is not None
            was_served = contents.served.expire(name, self._clock()) and is_loaded
            waiting = [] if is_loaded else contents.queue.take_name(name)
            return replace(contents.removed(waiting), was_served=was_served)

    def release_name(self, name: str, digest: str) -> bool:
        """Let a name that means another model now expire; return whether it was pinned.

        Do nothing if the name has another digest: a request for the new model has come meanwhile.
        """
        with self._transition() as contents:
            return contents.release_name(name, digest)

    def rename(self, source: str, target: str, digest: str | None = None) -> None:
        """Replace a name, and its digest unless None, in requests and served names."""
        with self._transition() as contents:
            contents.rename(source, target, digest)

    def remove_name(self, name: str, error: LocalrunError) -> RemovedRequests:
        """Let a name expire and cancel all its requests; the running ones end with ``error``."""
        with self._transition() as contents:
            contents.served.expire(name, self._clock())
            waiting = contents.queue.take_name(name)
            running = contents.requests_for(name)
            for request in running:
                request.is_cancelled, request.cancel_error = True, error
            return contents.removed(waiting, running)

    def wait_until_removed(self, name: str, timeout_s: float) -> Runner | None:
        """Block until no request for a name is left.

        After ``timeout_s``, return the runner if it still works for this name and for no other.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._contents.requests_for(name), timeout_s)
            num_left = len(self._contents.requests_for(name))
            is_alone = num_left == len(self._contents.running) and not self._contents.is_wanted
            return self._contents.runner if num_left and is_alone else None

    def drain(self) -> None:
        """Send no more requests, and unload once the running ones have ended.

        Do nothing if no runner is loaded, or if a name was pinned meanwhile.
        """
        with self._transition() as contents:
            contents.is_draining = contents.loaded is not None and not contents.served.has_pin

    def close(self) -> RemovedRequests:
        """Refuse further requests and remove those that wait."""
        with self._transition() as contents:
            contents.is_closed = True
            return contents.removed(contents.queue.take_all())

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
                lambda: self._is_settled or self._contents.is_over or self._contents.is_starting,
                SETTLE_S,
            )

    # Transitions of the worker and of the runner's reader

    def wait_for_action(self) -> SlotAction | PendingRequest:
        """Return the worker's next action, or the request to send next; blocks.

        The state changes together with the decision: a request counts as running, a load as
        starting, and after `SlotAction.STOP` the slot takes no more requests.
        """
        with self._changed:
            while True:
                with self._transition() as contents:
                    action = contents.begin_next_action()
                    self._is_settled = action is None
                if action is not None:
                    return action
                self._changed.wait_for(
                    lambda: not self._is_settled, self._contents.until_expiry_s()
                )

    def begin_runner(self, runner: Runner, name: str) -> bool:
        """Add a runner that is about to load for a name; return whether a request still waits."""
        with self._transition() as contents:
            contents.runner, contents.loading_name = runner, name
            return contents.is_wanted

    def set_progress(self, fraction: float) -> None:
        """Record the share of the weights that is loaded."""
        with self._transition() as contents:
            contents.progress = fraction

    def complete_load(self, loaded: SlotLoad) -> None:
        """Record a load that succeeded, and how long each request has waited for it."""
        with self._transition() as contents:
            contents.loaded = loaded
            for request in contents.queue:
                request.load_s = loaded.ready_at - request.submitted_at

    def fail_load(self, draft: tuple[Path, ...] = ()) -> list[PendingRequest]:
        """Remove and return the requests that waited for a load that failed.

        If it was a load with a draft model, others wait on: they are loaded for without it.
        """
        with self._transition() as contents:
            contents.is_draining = False
            return contents.queue.take_draft(draft) if draft else contents.queue.take_all()

    def end_load(self) -> None:
        """Record that no load is under way any more."""
        with self._transition() as contents:
            contents.is_starting = False

    def drop_runner(self) -> None:
        """Remove a runner that did not load."""
        with self._transition() as contents:
            contents.runner = None

    def unloaded(self) -> None:
        """Remove a runner that has ended, and the served names that no request uses."""
        with self._transition() as contents:
            contents.runner, contents.loaded, contents.is_draining = None, None, False
            contents.served.drop_idle()

    def finish(self, request: PendingRequest) -> None:
        """Record the end of a request that was running."""
        with self._transition() as contents:
            contents.finish(request)

    @contextmanager
    def _transition(self) -> Iterator[SlotContents]:
        """Hold the lock for a change, then let all waiting threads look at the state again."""
        with self._changed:
            self._is_settled = False
            try:
                yield self._contents
            finally:
                self._changed.notify_all()
