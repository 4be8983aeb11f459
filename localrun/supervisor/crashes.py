"""Which models keep crashing: after three times in a minute they have to wait.

A runner that dies as soon as it is loaded would otherwise be loaded for every request,
and take the machine down with it. Safe from any thread.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.errors import OverloadedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.supervisor.model import RunnerModel

MOST_CRASHES, WINDOW_S = 3, 60.0
COOL_DOWN_S = 60.0


@dataclass(slots=True)
class _Record:
    name: str
    reason: str = ""
    times: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_CRASHES))
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class FailingModel:
    """A model that is not loaded for a while, because it crashed too often."""

    model: RunnerModel
    name: str
    reason: str
    retry_after_s: float


class CrashBackoff:
    """What has crashed since the server began."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._records: dict[RunnerModel, _Record] = {}
        self._counts: Counter[str] = Counter()

    def note(self, model: RunnerModel, name: str, reason: str) -> None:
        """Count a crash of a runner that was loaded for ``name``."""
        with self._lock:
            now = self._clock()
            self._counts[name] += 1
            record = self._records.setdefault(model, _Record(name))
            record.name, record.reason = name, reason
            record.times.append(now)
            if len(record.times) == MOST_CRASHES and now - record.times[0] <= WINDOW_S:
                record.until = now + COOL_DOWN_S
                record.times.clear()

    def check(self, model: RunnerModel) -> None:
        """Refuse a model that has to wait.

        Raises:
            OverloadedError: says why, and for how long.
        """
        with self._lock:
            record = self._records.get(model)
            left = record.until - self._clock() if record else 0.0
            if record is not None and left > 0:
                raise OverloadedError(
                    f"{record.name} crashed {MOST_CRASHES} times within {WINDOW_S:.0f} s, "
                    f"last: {record.reason}",
                    hint=f"it is tried again in {left:.0f} s; localrun doctor   looks for a cause",
                    retry_after_s=left,
                )

    def failing(self) -> list[FailingModel]:
        """Return the models that have to wait."""
        with self._lock:
            now = self._clock()
            return [
                FailingModel(model, record.name, record.reason, record.until - now)
                for model, record in self._records.items()
                if record.until > now
            ]

    def forget(self, model: RunnerModel) -> None:
        """Let a model be tried again: nobody means it any more, or its files are new."""
        with self._lock:
            self._records.pop(model, None)

    def rename(self, source: str, target: str) -> None:
        """Report failures of ``source`` under its new name."""
        with self._lock:
            for record in self._records.values():
                if record.name == source:
                    record.name = target

    def counts(self) -> Counter[str]:
        """Return how many runners ended although nobody asked them to, by name."""
        with self._lock:
            return self._counts.copy()
