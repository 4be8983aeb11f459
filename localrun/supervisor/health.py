"""Health of runners: the monitor that kills runners that hang, and crash back-off.

A model whose runner crashed `MAX_CRASHES` times within `CRASH_WINDOW_S` is refused for
`COOL_DOWN_S`: otherwise it would be loaded and crash with every request. Knows nothing of requests.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.errors import OverloadedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.slots.state import SlotState

CHECK_S = 1.0
PING_S = 3.0
MAX_CRASHES, CRASH_WINDOW_S = 3, 60.0
COOL_DOWN_S = 60.0


class HealthMonitor:
    """Thread that pings the runners that have work and kills those that hang.

    Sleeps while no runner has work: an idle machine is not woken. `wake` ends the sleep.
    """

    def __init__(
        self,
        slots: Callable[[], list[SlotState]],
        closing: threading.Event,
        timeout_scale: float,
        load_timeout_s: float | None,
    ) -> None:
        """``load_timeout_s`` is the longest time without progress of a load, None for no limit."""
        self._slots = slots
        self._closing = closing
        self._timeout_scale = timeout_scale
        self._load_timeout_s = load_timeout_s
        self._is_awake = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._check_until_closed, name="health", daemon=True).start()

    def wake(self) -> None:
        """Check again: a slot has work now, or the pool closes."""
        if not self._is_awake.is_set():
            self._is_awake.set()

    def _check_until_closed(self) -> None:
        pinged_at = 0.0
        while not self._closing.is_set():
            self._is_awake.clear()  # before the check: work that begins later sets it again
            pings = time.monotonic() - pinged_at >= PING_S * self._timeout_scale
            pinged_at = time.monotonic() if pings else pinged_at
            watched = [slot for slot in self._slots() if self._check(slot, pings=pings)]
            if watched:
                self._closing.wait(CHECK_S * min(1.0, self._timeout_scale))
            else:
                self._is_awake.wait()

    def _check(self, slot: SlotState, *, pings: bool) -> bool:
        """Kill the runner of a slot if it hangs; return whether to check again in a while."""
        runner, has_work = slot.runner, slot.has_work
        if runner is None or not runner.is_alive:
            return has_work
        heartbeat, is_loading = runner.heartbeat, slot.loaded is None
        if not has_work and heartbeat.is_quiet:
            heartbeat.rest()
            return False
        if not is_loading and (pings or heartbeat.is_resting):
            runner.ping()
        if is_loading:
            reason = heartbeat.load_stall_reason(self._load_timeout_s)
        else:
            reason = heartbeat.stall_reason(timeout_scale=self._timeout_scale)
        if reason is not None:
            runner.kill(reason)
        return True


@dataclass(slots=True)
class _CrashRecord:
    name: str
    reason: str = ""
    times: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_CRASHES))
    refused_until: float = 0.0


@dataclass(frozen=True, slots=True)
class FailingModel:
    """A model that is refused for a while because it crashed too often."""

    model: RunnerModel
    name: str
    reason: str
    retry_after_s: float


class CrashBackoff:
    """The crashes since the server's start; all methods are safe from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards both dicts; no other lock is taken under it
        self._records: dict[RunnerModel, _CrashRecord] = {}
        self._counts: Counter[str] = Counter()

    def record(self, model: RunnerModel, name: str, reason: str) -> None:
        """Count a crash of a runner that was loaded for ``name``."""
        with self._lock:
            now = self._clock()
            self._counts[name] += 1
            record = self._records.setdefault(model, _CrashRecord(name))
            record.name, record.reason = name, reason
            record.times.append(now)
            if len(record.times) == MAX_CRASHES and now - record.times[0] <= CRASH_WINDOW_S:
                record.refused_until = now + COOL_DOWN_S
                record.times.clear()

    def check(self, model: RunnerModel) -> None:
        """Refuse a model that crashed too often.

        Raises:
            OverloadedError: states the last crash and the seconds until the next try.
        """
        with self._lock:
            record = self._records.get(model)
            left_s = record.refused_until - self._clock() if record else 0.0
            if record is not None and left_s > 0:
                raise OverloadedError(
                    f"{record.name} crashed {MAX_CRASHES} times within {CRASH_WINDOW_S:.0f} s, "
                    f"last: {record.reason}",
                    hint=f"it is tried again in {left_s:.0f} s; "
                    "localrun doctor   looks for a cause",
                    retry_after_s=left_s,
                )

    def failing(self) -> list[FailingModel]:
        """Return the models that are refused."""
        with self._lock:
            now = self._clock()
            return [
                FailingModel(model, record.name, record.reason, record.refused_until - now)
                for model, record in self._records.items()
                if record.refused_until > now
            ]

    def forget(self, model: RunnerModel) -> None:
        """Forget the crashes of a model whose name is gone or has new files."""
        with self._lock:
            self._records.pop(model, None)

    def rename(self, source: str, target: str) -> None:
        """Report crashes of ``source`` under its new name."""
        with self._lock:
            for record in self._records.values():
                if record.name == source:
                    record.name = target

    def counts(self) -> Counter[str]:
        """Return the number of crashes by name."""
        with self._lock:
            return self._counts.copy()
