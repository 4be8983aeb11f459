"""The look at all slots every second: models whose time is over go, runners that hang are ended."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.supervisor.slot_state import SlotState

SWEEP_S = 1.0
PING_S = 3.0


class HealthMonitor:
    """Watches in a thread of its own until the pool closes; ``patience`` scales its times."""

    def __init__(
        self, slots: Callable[[], list[SlotState]], closing: threading.Event, patience: float
    ) -> None:
        self._slots = slots
        self._closing = closing
        self._patience = patience

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._watch_until_closed, name="keep-alive", daemon=True).start()

    def _watch_until_closed(self) -> None:
        asked_at = 0.0
        while not self._closing.wait(SWEEP_S * min(1.0, self._patience)):
            is_time = time.monotonic() - asked_at >= PING_S * self._patience
            asked_at = time.monotonic() if is_time else asked_at
            for slot in self._slots():
                slot.stir()
                self._look_at(slot, asks=is_time)

    def _look_at(self, slot: SlotState, *, asks: bool) -> None:
        """End a runner that hangs."""
        runner = slot.runner
        if runner is None or not runner.is_alive:
            return
        is_loading = slot.ready is None
        if asks and not is_loading:
            runner.ping()
        reason = runner.pulse.stall(is_loading=is_loading, patience=self._patience)
        if reason is not None:
            runner.kill(reason)
