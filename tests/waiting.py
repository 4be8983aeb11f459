"""Waits for other threads and processes.

A wait ends when its condition holds. `HANG_S` is so long that a busy machine never reaches it:
a test that waits for so long has found a hang. The assertions of a test say nothing about times,
which belong to scripts/bench.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HANG_S = 120.0  # less than pytest's timeout, so that the failure names the condition
POLL_S = 0.01


def wait_until(
    condition: Callable[[], object], what: str = "what is awaited", *, poll_s: float = POLL_S
) -> None:
    """Return as soon as the condition holds; fail if the program hangs."""
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come in {HANG_S:.0f} s"
        time.sleep(poll_s)
