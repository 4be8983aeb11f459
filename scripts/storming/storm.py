"""Drive one runner process with random requests, and count what it holds in the end.

A request that does not end in `PATIENCE_S`, ends twice, or answers what was not asked for is
a complaint; so is a cell, a sampler or a request that is left when all is over. A runner may
be killed in the middle: then each open request must end in an error, and another one begins.
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
from localrun.supervisor.runner_process import start_runner
from storming.asking import Asked, Asker, complaint
from storming.replay import NEAR_TIE, Witness, calm, gap_at_parting, is_plain, text_of, witness

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path

    from localrun.runner.messages import Submitted

PATIENCE_S = 120.0
MOST_OPEN = 24
MOST_WITNESSES = 400
DETAIL = re.compile(r"\d+|: exit code.*|, killed.*|: .*")
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What the storm is over."""

    name: str
    load: Load
    adapters: tuple[Path, ...] = ()
    can_generate: bool = True


@dataclass(slots=True)
class Report:
    """What happened."""

    ends: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)  # by their message
    complaints: list[str] = field(default_factory=list)
    is_stuck: bool = False  # a request did not end
    num_kills: int = 0
    drafted: int = 0
    accepted: int = 0
    cached: int = 0
    cached_again: int = 0
    witnesses: list[Witness] = field(default_factory=list)
    parted: Counter[str] = field(default_factory=Counter)
    memory_mb: list[float] = field(default_factory=list)  # of the runner, whenever all was quiet

    def note(self, request: Submitted, events: Sequence[Event]) -> None:
        """Count the end of a request."""
        end = events[-1]
        wrong = complaint(request, events)
        if wrong:
            self.complaints.append(f"{wrong}\n        {_brief(request)}\n        {_brief(end)}")
        found = witness(request, events)
        if found is not None and len(self.witnesses) < MOST_WITNESSES:
            self.witnesses.append(found)
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
    """One storm; `blow` blocks."""

    def __init__(self, weather: Weather, seed: int, report: Report) -> None:
        self._weather = weather
        self._chance = random.Random(seed)
        self._asker = Asker(self._chance, weather.adapters, can_generate=weather.can_generate)
        self._report = report
        self._numbers = itertools.count(1)
        self._open: dict[int, _Open] = {}
        self._lock = threading.Lock()
        self._cancels: list[tuple[float, int]] = []
        self._runner = self._start()

    def blow(self, seconds: float, *, kill_every_s: float = 0.0) -> None:
        """Ask for so long, wait until all have ended, and count what is left."""
        until = time.monotonic() + seconds
        kill_at = time.monotonic() + kill_every_s if kill_every_s else float("inf")
        while (now := time.monotonic()) < until and not self._report.is_stuck:
            if len(self._open) < MOST_OPEN:
                self._ask(self._asker.next())
            self._cancel_due()
            self._complain_of_late()
            if now > kill_at:
                self._kill()
                kill_at = now + kill_every_s
            time.sleep(self._chance.choice((0.0, 0.0, 0.002, 0.02)))
        self._await_all()
        self._take_census()

    def restart(self) -> None:
        """Begin with an empty cache, and with the prompts that the runner saved at its end."""
        self._runner.close()
        self._runner = self._start()

    def replay(self, most: int = MOST_WITNESSES) -> None:
        """Ask again what was answered, and complain of what is not the same."""
        parted = self._report.parted
        for request, text, end in self._report.witnesses[-most:]:
            opened = self._submit(calm(request, next(self._numbers)), is_stormy=False)
            opened.is_over.wait(PATIENCE_S)
            again = opened.events[-1]
            if isinstance(again, Finished):
                self._report.cached_again += again.cached_tokens
            gap = gap_at_parting(text, opened.events)
            kind = "plain" if is_plain(request) else "other"
            if gap is None and isinstance(again, Finished):
                is_same = _facts(again) == _facts(end)
                parted[f"{kind} same" if is_same else f"{kind} ENDS"] += 1
                if not is_same:
                    self._report.complaints.append(
                        f"{_facts(end)} {_facts(again)} {_brief(request)}"
                    )
                continue
            parted[f"{kind} parted"] += 1
            if gap is None or (kind == "plain" and gap > NEAR_TIE):
                self._report.complaints.append(
                    f"parted by {gap}: {text!r}, alone {text_of(opened.events)!r}\n        "
                    f"{_brief(request)}\n        {_brief(end)}\n        {_brief(again)}"
                )

    def close(self) -> None:
        """End the runner."""
        self._runner.close()

    def _start(self) -> Runner:
        runner = Runner(self._spawn)
        runner.load(self._weather.load)
        return runner

    def _spawn(self, child_end: socket.socket) -> subprocess.Popen[bytes]:
        self._process = start_runner(child_end)
        return self._process

    def _ask(self, asked: Asked) -> None:
        for request in asked.requests:
            numbered = replace(request, request_id=next(self._numbers))
            self._submit(numbered)
            if asked.cancel_after_s is not None:
                when = time.monotonic() + asked.cancel_after_s
                self._cancels.append((when, numbered.request_id))

    def _submit(self, request: Submitted, *, is_stormy: bool = True) -> _Open:
        opened = _Open(request, time.monotonic())
        with self._lock:
            self._open[request.request_id] = opened

        def sink(event: Event) -> None:
            with self._lock:
                opened.events.append(event)
                if isinstance(event, Terminal):
                    self._open.pop(request.request_id, None)
                    if is_stormy:
                        self._report.note(request, opened.events)
                    opened.is_over.set()

        self._runner.submit(request, sink)
        return opened

    def _cancel_due(self) -> None:
        now = time.monotonic()
        for _, number in [due for due in self._cancels if due[0] <= now]:
            self._runner.cancel(number)
        self._cancels = [due for due in self._cancels if due[0] > now]

    def _complain_of_late(self) -> None:
        before = time.monotonic() - PATIENCE_S
        with self._lock:
            late = [one for one in self._open.values() if one.begun < before]
        self._report.complaints += [f"never ended: {one.request} {one.events}" for one in late]
        self._report.is_stuck = bool(late)

    def _kill(self) -> None:
        """Kill the runner, see that all requests end, and start another."""
        self._process.kill()
        self._report.num_kills += 1
        self._await_all()
        self._runner.close()
        self._runner = self._start()

    def _await_all(self) -> None:
        while self._open and not self._report.is_stuck:
            self._cancel_due()
            self._complain_of_late()
            time.sleep(0.005)

    def _take_census(self) -> None:
        for forget in (False, True):
            opened = self._submit(Count(request_id=next(self._numbers), forget=forget))
            opened.is_over.wait(PATIENCE_S)
            counts = opened.events[-1] if opened.events else None
            if not isinstance(counts, Counts):
                self._report.complaints.append(f"no census: {counts}")
                return
            left = (counts.num_open, counts.num_samplers)
            if forget:
                left += (counts.num_cells, counts.num_holders)
            if any(left):
                self._report.complaints.append(f"left behind: {counts}")
        process = psutil.Process(self._process.pid)
        self._report.memory_mb.append(process.memory_info().rss / MB)


def _facts(end: Finished) -> tuple[object, ...]:
    """Return what does not depend on time or on others."""
    return (
        end.reason, end.stop, end.prompt_tokens, end.generated_tokens, end.dropped_tokens,
        end.thought_tokens,
    )  # fmt: skip


def _brief(message: Any) -> str:  # noqa: ANN401 - any dataclass
    """Return a message without what it does not say."""
    given = {
        one.name: value
        for one in fields(message)
        if (value := getattr(message, one.name)) not in ((), None, {}, one.default)
    }
    if isinstance(given.get("sampling"), SamplingParams):
        given["sampling"] = _brief(given["sampling"])
    return f"{type(message).__name__} {given}"


@dataclass(slots=True)
class _Open:
    request: Submitted
    begun: float
    events: list[Event] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)
