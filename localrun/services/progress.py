"""Progress reports of long use cases: protocol, and reports that are silent, shared or JSON lines.

A use case calls its report; the CLI and the server render what was reported. Knows no terminal
and no HTTP.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    WriteEvent = Callable[[dict[str, Any]], None]

EVENT_INTERVAL_S = 0.1


class ProgressReport(Protocol):
    """Receiver of progress; called from one thread at a time."""

    def note(self, text: str) -> None:
        """Report one line that the user should read."""

    def begin(self, total_bytes: int | None, num_files: int) -> None:
        """Report the size of all the work, or None if the size is not known."""

    def advance(self, name: str, done: int, total: int | None) -> None:
        """Report the progress of a file in bytes; ``done == total`` once it is complete."""


class SilentReport:
    """Report that discards everything."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def begin(self, total_bytes: int | None, num_files: int) -> None:
        """Do nothing."""

    def advance(self, name: str, done: int, total: int | None) -> None:
        """Do nothing."""


class SharedReport:
    """Report that many threads call; once stopped, `advance` raises and so ends their work.

    Raises:
        CancelledError: by `advance`, after `stop`.
    """

    def __init__(self, report: ProgressReport) -> None:
        self._report = report
        self._lock = threading.Lock()  # one call of the report at a time; no lock is taken inside
        self._is_stopped = False

    def stop(self) -> None:
        """End the work of every thread at its next call of `advance`."""
        self._is_stopped = True

    def note(self, text: str) -> None:
        """Report one line."""
        with self._lock:
            self._report.note(text)

    def begin(self, total_bytes: int | None, num_files: int) -> None:
        """Report the size of all the work."""
        with self._lock:
            self._report.begin(total_bytes, num_files)

    def advance(self, name: str, done: int, total: int | None) -> None:
        """Report the progress of a file."""
        if self._is_stopped:
            raise CancelledError
        with self._lock:
            self._report.advance(name, done, total)


@dataclass(slots=True)
class JobReport:
    """Report that writes JSON objects, at most ten a second for each file.

    The objects are documented in `localrun.services.jobs`.
    """

    write: WriteEvent
    digests: dict[str, str | None] = field(default_factory=dict)  # of the files by their names
    _last_s: dict[str, float] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Write a note."""
        self.write({"note": text})

    def begin(self, total_bytes: int | None, num_files: int) -> None:  # noqa: ARG002 - a report
        """Write the size of all the work."""
        self.write({"begin": total_bytes})

    def advance(self, name: str, done: int, total: int | None) -> None:
        """Write the progress of a file; the event of its end is never left out."""
        now_s = time.monotonic()
        if done != total and now_s - self._last_s.get(name, 0.0) < EVENT_INTERVAL_S:
            return
        self._last_s[name] = now_s
        digest = self.digests.get(name)
        self.write({"advance": name, "done": done, "total": total, "digest": digest})
