"""What a batch tells: a status line while it runs, and a summary."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from localrun.cli.output import Output, counted, human_seconds

if TYPE_CHECKING:
    from localrun.batches.outcome import Outcome

SHOWN_EVERY_S = 0.2
RATE_S = 30.0  # the rate is that of the last seconds
MAX_SHOWN = 200  # characters of an error


class BatchReport:
    """Counts of a batch, and their lines on stderr."""

    def __init__(self, num_records: int) -> None:
        self._num_records = num_records
        self._num_before = 0  # done by earlier runs
        self._num_done = 0
        self.num_failed = 0
        self.first_error = ""
        self._num_prompt = 0  # tokens
        self._num_generated = 0
        self._output = Output()
        self._begun = self._shown = time.monotonic()
        self._recent: deque[tuple[float, int]] = deque()  # times and numbers of records done

    def begin(self, num_before: int) -> None:
        """Begin to count, after so many records that are done."""
        self._begun = time.monotonic()
        self._num_before = num_before
        if num_before:
            self._output.note(f"{num_before} of {counted(self._num_records, 'record')} are done")

    def count(self, outcome: Outcome, generates: bool) -> None:
        """Count the outcome of a record."""
        self._num_done += 1
        if outcome.is_ok:
            prompt, generated = outcome.num_tokens()
            self._num_prompt += prompt
            self._num_generated += generated if generates else 0
        else:
            self.num_failed += 1
            self.first_error = self.first_error or outcome.error()["message"][:MAX_SHOWN]
        now = time.monotonic()
        if now - self._shown >= SHOWN_EVERY_S:
            self._shown = now
            self._output.status(self._status(now))

    def interrupted(self, *, can_resume: bool) -> None:
        """Tell how far an interrupted batch has come."""
        self._output.status("")
        done = self._num_before + self._num_done
        how = "; the same command goes on" if can_resume else ""
        self._output.note(f"stopped after {done} of {counted(self._num_records, 'record')}{how}")

    def end(self) -> None:
        """Print the summary."""
        self._output.status("")
        seconds = max(time.monotonic() - self._begun, 1e-9)
        answered = self._num_done - self.num_failed
        tokens = f"{self._num_prompt + self._num_generated} tokens"
        failed = f", {self.num_failed} failed" if self.num_failed else ""
        self._output.note(
            f"{counted(answered, 'record')} answered{failed} in {seconds:.1f} s"
            f" ({self._num_done / seconds:.1f} records/s, {tokens})"
        )

    def estimate(self, num_parallel: int) -> None:
        """Print what all records will take, by those that were counted."""
        self._output.status("")
        seconds = max(time.monotonic() - self._begun, 1e-9)
        num_answered = self._num_done - self.num_failed
        share = self._num_records / max(1, num_answered)
        rows = [
            ("records", str(self._num_records)),
            ("tried", f"{self._num_done}, {self.num_failed} failed"),
            ("prompt tokens", f"about {round(self._num_prompt * share)}"),
            ("generated tokens", f"about {round(self._num_generated * share)}"),
            ("at once", str(num_parallel)),
            (
                "time",
                f"about {human_seconds(seconds * self._num_records / max(1, self._num_done))}",
            ),
        ]
        if self.first_error:
            rows.append(("first error", self.first_error))
        self._output.table((), rows)

    def _status(self, now: float) -> str:
        self._recent.append((now, self._num_done))
        while now - self._recent[0][0] > RATE_S:
            self._recent.popleft()
        begun, before = self._recent[0] if len(self._recent) > 1 else (self._begun, 0)
        rate = (self._num_done - before) / max(now - begun, 1e-9)
        done = self._num_before + self._num_done
        left = f", {human_seconds((self._num_records - done) / rate)} left" if rate else ""
        failed = f", {self.num_failed} failed" if self.num_failed else ""
        return f"{done} of {self._num_records} records, {rate:.1f}/s{left}{failed}"
