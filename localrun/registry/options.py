"""How to download."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.registry.transfer.rate_limit import RateLimit
from localrun.registry.transfer.sources import FIRST_WAIT_S
from localrun.registry.transfer.speed import SLOW_AFTER_S, SLOW_BYTES_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.registry.remote import FileSource

DEFAULT_STREAMS = 4
SYNC_S = 5.0


def no_more() -> Sequence[FileSource]:
    """Return no mirrors."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOptions:
    """How to download."""

    num_streams: int = DEFAULT_STREAMS
    limit: RateLimit = field(default_factory=lambda: RateLimit(None))
    first_wait_s: float = FIRST_WAIT_S  # after a failure; doubled after each further one
    slow_after_s: float = SLOW_AFTER_S
    slow_bytes_per_s: float = SLOW_BYTES_PER_S  # slower for so long: another source is tried
    sync_s: float = SYNC_S  # between two fsyncs, which is what a crash of the machine costs
    find_mirrors: Callable[[], Sequence[FileSource]] = no_more  # called when a source gives trouble
    report: Callable[[int, int | None], None] = lambda done, total: None  # noqa: ARG005
