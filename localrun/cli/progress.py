"""Progress of downloads and imports: bars on a terminal, lines elsewhere, events with ``--json``.

Implements `localrun.services.progress.ProgressReport`. Bars and lines are written to stderr,
events to stdout, one JSON object per line:

    {"event": "note", "text": "..."}
    {"event": "begin", "total_bytes": 900, "num_files": 2}
    {"event": "progress", "file": "model.gguf", "done_bytes": 400, "total_bytes": 800}
"""

from __future__ import annotations

import re
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from localrun.cli.output import Output, human_bytes, human_seconds, is_terminal
from localrun.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress, TaskID

    from localrun.services.progress import ProgressReport

LINE_S = 5.0
EVENT_S = 0.2
DIGEST = re.compile(r"[0-9a-f]{64}")
SHOWN_DIGITS = 12


@contextmanager
def shown_progress(output: Output) -> Iterator[ProgressReport]:
    """Show progress while the block runs: as events, bars or lines, depending on the output."""
    if output.as_json:
        yield _Events(output)
    elif is_terminal(sys.stderr):
        with _rich_progress() as progress:
            yield _Bars(progress)
    else:
        yield _Lines(output)


class _Bars:
    """A bar for each file and one for the total."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}
        self._total: TaskID | None = None
        self._total_bytes: int | None = None

    def note(self, text: str) -> None:
        self._progress.console.print(plain(text), markup=False, highlight=False)

    def begin(self, total_bytes: int | None, num_files: int) -> None:
        self._total_bytes = total_bytes
        if num_files > 1:
            self._total = self._progress.add_task("total", total=total_bytes)

    def advance(self, name: str, done: int, total: int | None) -> None:
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = self._progress.add_task(_short(name), total=total)
        self._progress.update(task, completed=done, total=total)
        self._done[name] = done
        if self._total is not None:
            done = sum(self._done.values())  # and what is done after it, such as a translation
            self._progress.update(self._total, completed=min(done, self._total_bytes or done))


class _Lines:
    """A line every `LINE_S` for each file."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._started: dict[str, tuple[float, int]] = {}  # time, and bytes then
        self._printed_at: dict[str, float] = {}
        self._complete: set[str] = set()

    def note(self, text: str) -> None:
        self._output.note(text)

    def begin(self, total_bytes: int | None, num_files: int) -> None:
        if total_bytes:
            files = "1 file" if num_files == 1 else f"{num_files} files"
            self._output.note(f"{files}, {human_bytes(total_bytes)}")

    def advance(self, name: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        started_at, first_bytes = self._started.setdefault(name, (now, done))
        shown = _shown(name)
        if name in self._complete:
            return
        if done == total:
            self._complete.add(name)
            self._output.note(f"{shown}: {human_bytes(done)}, complete")
        elif now - self._printed_at.setdefault(name, now) >= LINE_S:
            self._printed_at[name] = now
            rate = (done - first_bytes) / (now - started_at)
            self._output.note(_line(shown, done, total, rate))


class _Events:
    """A JSON object per update, at most every `EVENT_S` for each file."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._sent: dict[str, tuple[float, int]] = {}  # time and bytes of the last event

    def note(self, text: str) -> None:
        self._output.event({"event": "note", "text": text})

    def begin(self, total_bytes: int | None, num_files: int) -> None:
        self._output.event({"event": "begin", "total_bytes": total_bytes, "num_files": num_files})

    def advance(self, name: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        sent_at, sent_bytes = self._sent.get(name, (0.0, -1))
        if done != sent_bytes and (done == total or now - sent_at >= EVENT_S):
            self._sent[name] = (now, done)
            self._output.event(
                {"event": "progress", "file": name, "done_bytes": done, "total_bytes": total}
            )


def _rich_progress() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _line(name: str, done: int, total: int | None, rate: float) -> str:
    if total is None:
        return f"{name}: {human_bytes(done)}"
    remaining = f", {human_seconds((total - done) / rate)} left" if rate > 0 else ""
    return (
        f"{name}: {100 * done / max(1, total):.0f} % of {human_bytes(total)}, "
        f"{human_bytes(int(rate))}/s{remaining}"
    )


def _short(name: str, width: int = 36) -> str:
    base = _shown(name.rsplit("/", 1)[-1])
    return base if len(base) <= width else f"{base[: width // 2 - 1]}…{base[-width // 2 :]}"


def _shown(name: str) -> str:
    """Return a name for display, with digests shortened: Ollama's files are named by digests."""
    return DIGEST.sub(lambda match: match[0][:SHOWN_DIGITS], plain(name))
