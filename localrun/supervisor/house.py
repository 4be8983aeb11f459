"""What all slots of a pool share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from localrun.supervisor.crashes import CrashBackoff
    from localrun.supervisor.load_queue import LoadQueue
    from localrun.supervisor.runner import Start


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolContext:
    """How runners are started and make room, and what has happened to them."""

    start: Start
    clock: Callable[[], float]
    room: LoadQueue
    crashes: CrashBackoff
    loads: Counter[str]
