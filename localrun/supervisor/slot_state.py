"""What is known of a slot: its runner, who waits for it and who wants it to stay.

All who look at a slot share it: its own thread, who puts calls there, the line of loads,
``ps``. What belongs together is read and written while ``changed`` is held.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from localrun.supervisor.served_names import ServedNames
from localrun.supervisor.waiting import RequestQueue

if TYPE_CHECKING:
    from localrun.runner.messages import Ready
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.planning import PlannedLoad
    from localrun.supervisor.request_queue import PendingRequest
    from localrun.supervisor.runner import Runner

SETTLE_S = 10.0


class SlotState:
    """The state of one slot; all methods are safe from any thread."""

    def __init__(self, key: RunnerModel, now: float) -> None:
        self.key = key
        self.changed = threading.Condition()  # guards all of it
        self.waiting = RequestQueue()
        self.holders = ServedNames()
        self.running: dict[int, PendingRequest] = {}  # by request id: calls that the runner has
        self.last_use = now
        self.load_s = 0.0  # how long the last load took: what it costs to lose it
        self.ready_at = now
        self.planned: PlannedLoad | None = None
        self.progress = 0.0
        self.loaded_for = ""
        self.runner: Runner | None = None  # also one that loads
        self.loaded: Ready | None = None  # what the runner said when it had loaded
        self.num_ctx = 0  # the largest that the loaded runner was asked for
        self.must_leave = False  # makes room as soon as nothing runs
        self.is_starting = False  # a load is wanted or under way
        self.is_closed = False
        self.is_settled = False
        self.is_over = False  # nothing comes here any more

    @property
    def ready(self) -> Ready | None:
        """Return what a loaded runner said, None while there is none."""
        runner = self.runner
        return self.loaded if runner is not None and runner.is_alive else None

    @property
    def num_running(self) -> int:
        """Return how many calls the runner has."""
        return len(self.running)

    @property
    def running_by_client(self) -> Counter[str]:
        """Return how many calls of each client the runner has."""
        return Counter(call.client for call in self.running.values())

    @property
    def num_waiting(self) -> int:
        """Return how many calls wait for the load or for their turn."""
        with self.changed:
            return self.waiting.num_in_line

    @property
    def is_wanted(self) -> bool:
        """Return whether calls wait that are to be answered."""
        return not (self.waiting.is_empty or self.is_closed)

    @property
    def is_idle(self) -> bool:
        """Return whether a runner is loaded that nobody uses or waits for."""
        with self.changed:
            is_used = self.num_running or not self.waiting.is_empty
            return self.ready is not None and not is_used

    def waiting_names(self) -> dict[str, str]:
        """Return the names that calls wait under, with their digests."""
        with self.changed:
            return self.waiting.names()

    def num_waiting_for(self, name: str) -> int:
        """Return how many calls for a name wait."""
        with self.changed:
            return self.waiting.num_for(name)

    def names(self) -> set[str]:
        """Return the names that hold the runner, wait for it or have calls in it."""
        with self.changed:
            calls = (*self.waiting, *self.running.values())
            return {*self.holders.by_name, *(call.model.name for call in calls)}

    def calls_for(self, name: str) -> list[PendingRequest]:
        """Return the calls for a name, waiting or running; the caller holds the lock."""
        return [call for call in (*self.waiting, *self.running.values()) if call.model.name == name]

    def stir(self) -> None:
        """Let what is due be done."""
        with self.changed:
            self.is_settled = False
            self.changed.notify_all()

    def settle(self) -> None:
        """Wait until what is due is done: names whose time is over, crashes, calls to send."""
        with self.changed:
            self.stir()
            self.changed.wait_for(
                lambda: self.is_settled or self.is_over or self.is_starting, SETTLE_S
            )

    def leave(self) -> None:
        """Send no more calls, and make room as soon as the running ones have ended."""
        with self.changed:
            if self.loaded is not None:
                self.must_leave = True
                self.stir()
