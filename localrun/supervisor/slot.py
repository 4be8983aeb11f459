"""A place in the pool: a runner while it is loaded, who waits for it and who wants it to stay.

Models that differ only in what a request can choose (adapters, template, system prompt,
sampling) share one.

    other threads    put calls into the line, cancel them, tell names to go; none of it blocks
    its own thread   loads, sends what is next, unloads; it ends when nothing is left to do

Requests for a model that loads wait together, for one load. A request for a larger
context than the loaded one reloads the model when nobody uses it; in use, or for a
smaller context, the loaded one serves: no thrashing.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.engine.params import FinishReason
from localrun.errors import LoadError, LocalrunError, OverloadedError
from localrun.runner.messages import Terminal
from localrun.supervisor.calls import Call, Line
from localrun.supervisor.holders import Holders
from localrun.supervisor.runner import GRACE_S, Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import Event, Ready
    from localrun.supervisor.crashes import Crashes
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.planning import PlannedLoad
    from localrun.supervisor.room import Room
    from localrun.supervisor.runner import Start

_log = logging.getLogger(__name__)

AHEAD = 4  # calls that a runner has beside those that run, so that no sequence of it lies idle
SETTLE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What all slots of a pool share."""

    start: Start
    clock: Callable[[], float]
    room: Room
    crashes: Crashes
    loads: Counter[str]


class _BrokenOffError(Exception):
    """Nobody waited for a load any more; who has come since gets another."""


class Slot:
    """A runner that may be loaded; all methods are safe from any thread."""

    def __init__(self, key: RunnerModel, house: House) -> None:
        self.key = key
        self._house = house
        self.last_use = house.clock()
        self.load_s = 0.0  # how long the last load took: what it costs to lose it
        self.ready_at = house.clock()
        self.planned: PlannedLoad | None = None
        self.progress = 0.0
        self.holders = Holders()
        self._loaded_for = ""
        self._runner: Runner | None = None
        self._ready: Ready | None = None
        self._num_ctx = 0  # the largest that the loaded runner was asked for
        self._changed = threading.Condition()  # guards all of it
        self._line = Line()
        self._light: deque[Call] = deque()
        self._sent: Counter[str] = Counter()  # by client: calls that the runner has
        self._must_leave = False  # makes room as soon as nothing runs
        self._is_starting = False
        self._is_closed = False
        self._is_settled = False
        self.is_over = False  # nothing comes here any more
        self._thread: threading.Thread | None = None  # from the first call on

    @property
    def runner(self) -> Runner | None:
        """Return the runner, also one that loads."""
        return self._runner

    @property
    def ready(self) -> Ready | None:
        """Return what a loaded runner said, None while there is none."""
        runner = self._runner
        return self._ready if runner is not None and runner.is_alive else None

    @property
    def num_running(self) -> int:
        """Return how many calls the runner has."""
        return self._sent.total()

    @property
    def num_waiting(self) -> int:
        """Return how many calls wait for the load or for their turn."""
        with self._changed:
            return len(self._line)

    @property
    def is_starting(self) -> bool:
        """Tell whether a load is wanted or under way."""
        return self._is_starting

    @property
    def is_leaving(self) -> bool:
        """Tell whether it makes room."""
        return self._must_leave

    def waiting_names(self) -> dict[str, str]:
        """Return the names that calls wait under, with their digests."""
        with self._changed:
            return {call.model.name: call.model.digest for call in self._line}

    def num_waiting_for(self, name: str) -> int:
        """Return how many calls for a name wait."""
        with self._changed:
            return sum(call.model.name == name for call in self._line)

    def put(self, call: Call) -> bool:
        """Let a call wait for its turn; False when the slot is over: another is to take it."""
        with self._changed:
            if self.is_over or self._is_closed:
                return False
            if call.is_light:
                self._light.append(call)
            else:
                self._line.add(call)
            self._stir()
            if self._thread is None:
                self._thread = threading.Thread(target=self._live, name="slot", daemon=True)
                self._thread.start()
        return True

    def cancel(self, call: Call) -> None:
        """End a call; a load that nobody waits for any more is broken off."""
        with self._changed:
            call.is_cancelled = True
            waited = self._line.remove(call) if not call.is_light else call in self._light
            if waited and call.is_light:
                self._light.remove(call)
            runner = self._runner
            loads = self._ready is None and not self._is_wanted()
            self._stir()
        if waited:
            call.end(FinishReason.CANCELLED)
            if loads and runner is not None:
                runner.close(grace_s=0.0)
        elif runner is not None:
            runner.cancel(call.request_id)

    def expire(self, name: str) -> bool:
        """Let a name go now, or as soon as nobody uses it; tell whether it was there.

        Who waits for its load is told that it was stopped.
        """
        with self._changed:
            was_held = self.holders.expire(name, self._house.clock()) and self.ready is not None
            stopped = [] if self.ready else [it for it in self._line if it.model.name == name]
            for call in stopped:
                self._line.remove(call)
            runner = self._runner if self._ready is None and not self._is_wanted() else None
            self._stir()
        for call in stopped:
            call.fail(LoadError(f"the load of {name} was stopped"))
        if stopped and runner is not None:
            runner.close(grace_s=0.0)
        self.settle()
        return was_held or bool(stopped)

    def settle(self) -> None:
        """Wait until what is due is done: names whose time is over, crashes, calls to send."""
        with self._changed:
            self._stir()
            self._changed.wait_for(
                lambda: self._is_settled or self.is_over or self._is_starting, SETTLE_S
            )

    def stir(self) -> None:
        """Let what is due be done."""
        with self._changed:
            self._stir()

    def leave(self) -> None:
        """Send no more calls, and make room as soon as the running ones have ended."""
        with self._changed:
            if self._ready is not None:
                self._must_leave = True
                self._stir()

    def is_idle(self) -> bool:
        """Tell whether a runner is loaded that nobody uses or waits for."""
        with self._changed:
            is_used = self.num_running or len(self._line) or self._light
            return self.ready is not None and not is_used

    def close(self, *, is_hasty: bool = False) -> None:
        """Unload for good whatever goes on, also in the middle of a load."""
        with self._changed:
            self._is_closed = True
            waiting = [*self._line, *self._light]
            self._line, self._light = Line(), deque()
            runner = self._runner
            self._stir()
        for call in waiting:
            call.fail(OverloadedError("the server is leaving"))
        if runner is not None:
            is_loaded = self._ready is not None and not is_hasty
            runner.close(grace_s=GRACE_S if is_loaded else 0.0, reason="the server is leaving")

    # what follows runs in the slot's own thread, `_stir` and `_finish` aside

    def _live(self) -> None:
        while (act := self._next()) is not None:
            try:
                act()
            except Exception:  # noqa: BLE001 - a bug must not leave requests without an end
                _log.exception("%s cannot go on", self.key.name)
                self.close()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while True:
                act = self._due()
                if act is not None:
                    return act
                if self._runner is None and self.holders.is_empty and not self._is_wanted():
                    self.is_over = True
                    self._changed.notify_all()
                    return None
                self._is_settled = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._is_settled)

    def _stir(self) -> None:
        self._is_settled = False
        self._changed.notify_all()

    def _is_wanted(self) -> bool:
        return bool(len(self._line) or self._light) and not self._is_closed

    def _due(self) -> Callable[[], None] | None:
        """Return what is to be done next."""
        runner = self._runner
        if runner is not None and not runner.is_alive:
            return self._bury if runner.is_gone else None
        if self.num_running == 0 and runner is not None and self._may_go():
            return self._unload
        if self._must_leave and runner is not None:
            return None
        if self._light and runner is not None:
            return self._send(self._light.popleft())
        if not self._is_wanted():
            return None
        return self._due_of_line(runner)

    def _may_go(self) -> bool:
        is_expired = self.holders.drop_expired(self._house.clock())
        return self._must_leave or (is_expired and not self._is_wanted())

    def _due_of_line(self, runner: Runner | None) -> Callable[[], None] | None:
        if runner is None or (self.num_running == 0 and self._is_too_small()):
            return self._load
        if len(self._line) and self.num_running < self._limit:
            return self._send(self._line.pop(self._sent))
        return None

    def _is_too_small(self) -> bool:
        return max((call.num_ctx or 0 for call in self._line), default=0) > self._num_ctx

    @property
    def _limit(self) -> int:
        return (self._ready.num_parallel if self._ready else 1) + AHEAD

    def _send(self, call: Call) -> Callable[[], None] | None:
        """Take a call as sent, and return what sends it."""
        self.holders.take(call.model.name, call.model.digest)
        if call.pins:
            self.holders.pin(call.model.name)
        self._sent[call.client] += 1
        return lambda: self._give(call)

    def _give(self, call: Call) -> None:
        runner = self._runner
        if call.frame is None or runner is None:
            self._finish(call)
            call.end(FinishReason.STOP)
            return

        def to_sink(event: Event) -> None:
            if isinstance(event, Terminal):
                self._finish(call)
            call.sink(event)

        runner.submit_frame(call.request_id, call.frame, to_sink)
        if call.is_cancelled:  # after it had been taken out of the line, before it was sent
            runner.cancel(call.request_id)

    def _finish(self, call: Call) -> None:
        """Count a call of the runner as ended."""
        with self._changed:
            self._sent -= Counter({call.client: 1})
            self.last_use = self._house.clock()
            seconds = call.keep_alive.seconds
            self.holders.leave(
                call.model.name, None if seconds is None else self.last_use + seconds
            )
            self._stir()
        self._house.room.notify()

    def _load(self) -> None:
        self._is_starting, self.progress = True, 0.0
        try:
            self._unload()
            with self._changed:
                calls = [*self._line, *self._light]
            if calls:
                self._load_for(calls[0], max(call.num_ctx or 0 for call in calls) or None)
        except _BrokenOffError:
            _log.info("the load of %s was broken off", self._loaded_for)
        except LocalrunError as error:
            self._fail(error)
        finally:
            self._is_starting = False

    def _load_for(self, first: Call, num_ctx: int | None) -> None:
        house, model = self._house, first.model
        house.crashes.check(self.key)
        claim = house.room.claim(self, model, num_ctx, self._is_wanted)
        if claim is None:
            return  # nobody wants it any more
        begun = house.clock()
        with claim:
            self._loaded_for = model.name
            first.context.run(_log.info, "loading %s", model.name)
            plan = claim.planned.plan
            if plan is not None and not plan.fits:
                _log.warning("%s may not fit: %s", model.name, "; ".join(plan.advice))
            try:
                self._run(claim.planned, num_ctx)
            except LoadError as error:
                smaller = claim.smaller(error)
                if smaller is None or not self._is_wanted():
                    raise
                self._run(smaller, num_ctx)
        house.loads[model.name] += 1
        with self._changed:
            self.ready_at = house.clock()
            self.load_s = self.ready_at - begun
            for call in [*self._line, *self._light]:
                call.load_s = self.ready_at - call.begun

    def _run(self, planned: PlannedLoad, num_ctx: int | None) -> None:
        runner = Runner(self._house.start, self.stir)
        with self._changed:
            self._runner = runner
            is_wanted = self._is_wanted()
        if not is_wanted:
            runner.close(grace_s=0.0)
        try:
            ready = runner.load(planned.load, self._note_progress)
        except BaseException as error:
            with self._changed:
                self._runner = None
            if runner.was_broken_off:
                raise _BrokenOffError from error
            if runner.has_crashed:
                self._house.crashes.note(self.key, self._loaded_for, str(error))
            raise
        with self._changed:
            self._ready, self.planned = ready, planned
            self._num_ctx = max(num_ctx or 0, ready.num_ctx)

    def _note_progress(self, fraction: float) -> None:
        self.progress = fraction

    def _fail(self, error: LocalrunError) -> None:
        """Tell who waits that the load failed."""
        with self._changed:
            waiting = [*self._line, *self._light]
            self._line, self._light = Line(), deque()
            self._must_leave = False
        for call in waiting:
            call.fail(error)

    def _bury(self) -> None:
        """Take leave of a runner that has ended."""
        runner = self._runner
        if runner is not None and runner.has_crashed:
            self._house.crashes.note(self.key, self._loaded_for, runner.obituary())
        with self._changed:
            self.holders.drop_idle()
        self._unload()

    def _unload(self) -> None:
        runner = self._runner
        if runner is not None:
            _log.info("unloading %s", self._loaded_for)
            runner.close()
        with self._changed:
            self._runner, self._ready, self._must_leave = None, None, False
            self.holders.drop_idle()
        self._house.room.freed()
