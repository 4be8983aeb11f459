"""Stress test of one runner process with random requests, and a count of leaked resources.

A complaint is a request that does not end within `TIMEOUT_S`, ends twice or has a wrong answer, and
a cell, sampler or request that is left when all requests have ended. The runner may be killed: then
each open request must end with an error, and a new runner starts.
"""

from __future__ import annotations

import itertools
import random
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import psutil

from localrun.engine.params import SamplingParams
from localrun.runner.messages import Count, Counts, Event, Failed, Finished, Load, Terminal
from localrun.supervisor.runner import Runner
from localrun.supervisor.runner_process import StartedRunner, start_runner
from storming.asking import RequestBatch, RequestGenerator, complaint
from storming.replay import (
    NEAR_TIE,
    ReplayCase,
    gap_at_divergence,
    is_plain,
    replay_case,
    replayed,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localrun.runner.messages import Submitted

TIMEOUT_S = 120.0
MAX_OPEN = 24
MAX_REPLAYS = 400
DETAIL = re.compile(r"\d+|: exit code.*|, killed.*|: .*")
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A model with its settings and adapters."""

    name: str
    load: Load
    adapters: tuple[Path, ...] = ()
    can_generate: bool = True


@dataclass(slots=True)
class Report:
    """Result of a stress test."""

    ends: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)  # by message
    complaints: list[str] = field(default_factory=list)
    is_stuck: bool = False  # a request did not end
    num_kills: int = 0
    drafted: int = 0
    accepted: int = 0
    cached: int = 0
    cached_again: int = 0
    replay_cases: list[ReplayCase] = field(default_factory=list)
    comparisons: Counter[str] = field(default_factory=Counter)
    memory_mb: list[float] = field(default_factory=list)  # of the runner, while idle

    def note(self, request: Submitted, events: Sequence[Event]) -> None:
        """Count the end of a request."""
        end = events[-1]
        wrong = complaint(request, events)
        if wrong:
            self.complaints.append(f"{wrong}\n        {_brief(request)}\n        {_brief(end)}")
        case = replay_case(request, events)
        if case is not None and len(self.replay_cases) < MAX_REPLAYS:
            self.replay_cases.append(case)
        if isinstance(end, Finished):
            self.drafted += end.drafted_tokens
            self.accepted += end.accepted_tokens
            self.cached += end.cached_tokens
            self.ends[end.reason] += 1
        else:
            self.ends[type(end).__name__] += 1
        if isinstance(end, Failed):
            self.failures[DETAIL.sub("...", end.message)] += 1


class Storm:
    """A stress test of one runner at a time; its methods block."""

    def __init__(self, scenario: Scenario, seed: int, report: Report) -> None:
        self._scenario = scenario
        self._chance = random.Random(seed)
        self._generator = RequestGenerator(
            self._chance, scenario.adapters, can_generate=scenario.can_generate
        )
        self._report = report
        self._numbers = itertools.count(1)
        self._open: dict[int, _Open] = {}
        self._lock = threading.Lock()
        self._cancels: list[tuple[float, int]] = []
        self._runner = self._start()

    def run(self, seconds: float, *, kill_every_s: float = 0.0) -> None:
        """Submit requests for some seconds, wait until all have ended, and count leaks."""
        until = time.monotonic() + seconds
        kill_at = time.monotonic() + kill_every_s if kill_every_s else float("inf")
        while (now := time.monotonic()) < until and not self._report.is_stuck:
            if len(self._open) < MAX_OPEN:
                self._submit_batch(self._generator.next())
            self._cancel_due()
            self._report_late()
            if now > kill_at:
                self._kill()
                kill_at = now + kill_every_s
            time.sleep(self._chance.choice((0.0, 0.0, 0.002, 0.02)))
        self._await_all()
        self._take_census()

    def restart(self) -> None:
        """Restart the runner: with an empty cache, and the prompts that it saved at its end."""
        self._runner.close()
        self._runner = self._start()

    def replay(self, most: int = MAX_REPLAYS) -> None:
        """Replay answered requests, and report answers that differ."""
        comparisons = self._report.comparisons
        for request, text, end in self._report.replay_cases[-most:]:
            opened = self._submit(replayed(request, next(self._numbers)), is_counted=False)
            opened.is_over.wait(TIMEOUT_S)
            again = opened.events[-1]
            if isinstance(again, Finished):
                self._report.cached_again += again.cached_tokens
            gap = gap_at_divergence(text, opened.events)
            kind = "plain" if is_plain(request) else "other"
            if gap is None and isinstance(again, Finished):
                is_same = _facts(again) == _facts(end)
                comparisons[f"{kind} same" if is_same else f"{kind} ENDS"] += 1
                if not is_same:
                    self._report.complaints.append(
                        f"{_facts(end)} {_facts(again)} {_brief(request)}"
                    )
                continue
            comparisons[f"{kind} diverged"] += 1
            if gap is None or (kind == "plain" and gap > NEAR_TIE):
                self._report.complaints.append(
                    f"diverged by {gap}: {text!r}, alone {text_of(opened.events)!r}\n        "
                    f"{_brief(request)}\n        {_brief(end)}\n        {_brief(again)}"
                )

    def close(self) -> None:
        """Stop the runner."""
        self._runner.close()

    def _start(self) -> Runner:
        runner = Runner(self._spawn)
        runner.load(self._scenario.load)
        return runner

    def _spawn(self) -> StartedRunner:
        started = start_runner()
        self._process = started.process
        return started

    def _submit_batch(self, batch: RequestBatch) -> None:
        for request in batch.requests:
            numbered = replace(request, request_id=next(self._numbers))
            self._submit(numbered)
            if batch.cancel_after_s is not None:
                due_at = time.monotonic() + batch.cancel_after_s
                self._cancels.append((due_at, numbered.request_id))

    def _submit(self, request: Submitted, *, is_counted: bool = True) -> _Open:
        opened = _Open(request, time.monotonic())
        with self._lock:
            self._open[request.request_id] = opened

        def sink(event: Event) -> None:
            with self._lock:
                opened.events.append(event)
                if isinstance(event, Terminal):
                    self._open.pop(request.request_id, None)
                    if is_counted:
                        self._report.note(request, opened.events)
                    opened.is_over.set()

        self._runner.submit(request, sink)
        return opened

    def _cancel_due(self) -> None:
        now = time.monotonic()
        for _, number in [due for due in self._cancels if due[0] <= now]:
            self._runner.cancel(number)
        self._cancels = [due for due in self._cancels if due[0] > now]

    def _report_late(self) -> None:
        before = time.monotonic() - TIMEOUT_S
        with self._lock:
            late = [request for request in self._open.values() if request.begun < before]
        self._report.complaints += [f"never ended: {item.request} {item.events}" for item in late]
        self._report.is_stuck = bool(late)

    def _kill(self) -> None:
        """Kill the runner, wait until all requests have ended, and start a new runner."""
        self._process.kill()
        self._report.num_kills += 1
        self._await_all()
        self._runner.close()
        self._runner = self._start()

    def _await_all(self) -> None:
        while self._open and not self._report.is_stuck:
            self._cancel_due()
            self._report_late()
            time.sleep(0.005)

    def _take_census(self) -> None:
        for forget in (False, True):
            opened = self._submit(Count(request_id=next(self._numbers), forget=forget))
            opened.is_over.wait(TIMEOUT_S)
            counts = opened.events[-1] if opened.events else None
            if not isinstance(counts, Counts):
                self._report.complaints.append(f"no census: {counts}")
                return
            leaks = (counts.num_open, counts.num_samplers)
            if forget:
                leaks += (counts.num_cells, counts.num_holders)
            if any(leaks):
                self._report.complaints.append(f"left behind: {counts}")
        process = psutil.Process(self._process.pid)
        self._report.memory_mb.append(process.memory_info().rss / MB)


def _facts(end: Finished) -> tuple[object, ...]:
    """Return the fields that do not depend on time or on other requests."""
    return (
        end.reason, end.stop, end.prompt_tokens, end.generated_tokens, end.dropped_tokens,
        end.thought_tokens,
    )  # fmt: skip


def _brief(message: Any) -> str:  # noqa: ANN401 - any dataclass
    """Return a message without its default values."""
    values = {
        item.name: value
        for item in fields(message)
        if (value := getattr(message, item.name)) not in ((), None, {}, item.default)
    }
    if isinstance(values.get("sampling"), SamplingParams):
        values["sampling"] = _brief(values["sampling"])
    return f"{type(message).__name__} {values}"


@dataclass(slots=True)
class _Open:
    request: Submitted
    begun: float
    events: list[Event] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)
