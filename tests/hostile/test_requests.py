"""No field of any request stalls the server, ends a runner or costs more than its size.

By default one value of every field is tried, and those that were slow once.
``scripts/test --hostile`` tries all of them and prints a table of fields, sizes and delays.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.hostile.neighbour import Neighbour
from tests.hostile.places import Document, Place
from tests.hostile.repetitions import KB, MB, SIZES
from tests.hostile.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.hostile.meter import Cost, Meter

GROWTH = 25.0  # of the work, for 10 times the size
LARGEST_STALL = 8.0  # in units of plain work
TRIES = 3  # of a request that seems to fail: what is the request's fault fails each time
NUM_WORST = 2  # values of a field that are tried in all sizes
JOB_PATHS = {"/api/pull", "/api/push", "/api/create"}  # each starts a process
JOBS_SAMPLED = 5  # one of so many
SEVERE = 500
PATIENCE_S = 900  # of a test, on a busy machine
EXPECTED = {503, 507}  # busy, or more memory than there is
ONCE_SLOW = (  # the end of a place's name, a value, and the largest size that is tried each time
    ("/v1/chat/completions chat_template", "jinja comments", 100 * KB),
    ("/v1/chat/completions chat_template", "jinja sums", 10 * KB),
    ("/v1/chat/completions grammar", "newlines", 100 * KB),
    ("/v1/chat/completions messages", "items", MB),
    ("/v1/chat/completions stop", "items", MB),
    ("/v1/messages messages", "items", MB),
    ("/v1/messages messages[0].content", "thoughts", MB),
    ("/v1/tokenize content", "control tokens", MB),
    ("/v1/tokenize messages", "items", 100 * KB),
    ("/api/chat options.stop", "items", MB),
    ("/api/chat keep_alive", "digits", 100 * KB),
    ("/api/create modelfile", "dollar names", MB),
    ("/api/create modelfile", "instructions", MB),
    ("/api/create template", "jinja comments", 100 * KB),
    ("/api/show model", "plus signs", 100 * KB),
)


@dataclass(frozen=True)
class Case:
    """One value of one place."""

    place: Place
    value: str


class Trial:
    """The cases of one server, tried and judged."""

    def __init__(self, meter: Meter, report: Report) -> None:
        self.document = Document(meter.document())
        self.meter = meter
        self.report = report
        self.problems: list[str] = []

    def grow(self, case: Case, sizes: Iterable[int]) -> None:
        """Try a case in several sizes, and hold the growth of its work."""
        smaller: Cost | None = None
        for size in sizes:
            cost = self.try_one(case, size, smaller)
            smaller = cost

    def try_one(self, case: Case, size: int, smaller: Cost | None = None) -> Cost:
        """Try a case in one size; what seems to fail is tried again."""
        best: Cost | None = None
        problem: str | None = None
        for _ in range(TRIES):
            cost = self._sent(case, size)
            best = cost if best is None or cost.work_s + cost.stall_s < _sum(best) else best
            problem = self._problem(best, smaller)
            if problem is None or cost.status >= SEVERE:
                break
        assert best is not None
        self.report.add(case.place.name, case.value, size, best)
        if problem is not None:
            self.problems.append(f"{case.place.name} = {case.value} of {size} bytes: {problem}")
        return best

    def _sent(self, case: Case, size: int) -> Cost:
        make = case.place.hostile_values()[case.value]
        body = self.document.body(case.place, make(size))
        return self.meter.cost(case.place.method, case.place.path, json.dumps(body).encode())

    def _problem(self, cost: Cost, smaller: Cost | None) -> str | None:
        unit = self.meter.unit_s
        if cost.status == 0 or (cost.status >= SEVERE and cost.status not in EXPECTED):
            return f"status {cost.status}: {cost.text[:200]}"
        if cost.stall_s > LARGEST_STALL * unit:
            return f"the server did not answer others for {cost.stall_s / unit:.1f} units of work"
        if smaller is not None and cost.work_s > GROWTH * max(smaller.work_s, unit):
            times = cost.work_s / max(smaller.work_s, unit)
            return f"{times:.0f} times the work for 10 times the size ({cost.work_s:.2f} s)"
        return None


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Iterator[Report]:
    found = Report()
    yield found
    if request.config.getoption("--hostile"):
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            print(f"\n{found.table()}")  # noqa: T201 - what --hostile is for


@pytest.fixture(scope="module")
def trial(meter: Meter, report: Report) -> Trial:
    return Trial(meter, report)


@pytest.mark.timeout(PATIENCE_S)
def test_what_was_slow_once_is_not(trial: Trial) -> None:
    trial.problems.clear()
    places = {place.name.removeprefix("POST "): place for place in trial.document.places()}

    for ending, value, largest in ONCE_SLOW:
        case = Case(_of_kind(trial, places[ending], value), value)
        trial.grow(case, [size for size in SIZES if size <= largest])

    assert not trial.problems, "\n".join(trial.problems)
    assert not trial.meter.has_lost_runner


@pytest.mark.timeout(PATIENCE_S)
def test_one_value_of_every_field(trial: Trial) -> None:
    trial.problems.clear()

    for place in trial.document.distinct_places():
        if place.path not in JOB_PATHS or _number(place) % JOBS_SAMPLED == 0:
            trial.try_one(Case(place, _sampled(place)), 100 * KB)

    assert not trial.problems, "\n".join(trial.problems)
    assert not trial.meter.has_lost_runner


@pytest.mark.timeout(PATIENCE_S)
def test_streams_of_others_go_on_beside_hostile_requests(trial: Trial) -> None:
    cases = [
        Case(place, _sampled(place))
        for place in trial.document.places()
        if place.name in BESIDE_STREAMS
    ]
    assert len(cases) >= len(BESIDE_STREAMS)

    with Neighbour(trial.meter.url) as neighbour:
        for case in cases:
            trial._sent(case, 100 * KB)
        neighbour.wait_for_more()

    assert neighbour.num_ended > 1
    assert not neighbour.problems


@pytest.mark.timeout(4 * 3600)
def test_all_values_of_all_fields(trial: Trial, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--hostile"):
        pytest.skip("scripts/test --hostile runs it")
    trial.problems.clear()

    for place in trial.document.distinct_places():
        found = [
            (_sum(trial.try_one(Case(place, value), 10 * KB)), value)
            for value in _all_values(place)
        ]
        for _, value in sorted(found, reverse=True)[:NUM_WORST]:
            trial.grow(Case(place, value), SIZES)

    assert not trial.problems, "\n".join(trial.problems)
    assert not trial.meter.has_lost_runner


BESIDE_STREAMS = {
    "POST /v1/chat/completions messages[0].content",
    "POST /v1/chat/completions chat_template",
    "POST /v1/chat/completions tools",
    "POST /v1/chat/completions stop",
    "POST /v1/tokenize content",
    "POST /v1/embeddings input",
    "POST /v1/rerank documents",
    "POST /v1/messages messages",
    "POST /v1/responses input",
    "POST /api/generate template",
    "POST /api/show model",
}


def _sampled(place: Place) -> str:
    """Return a value of a place, always the same, another one for each place."""
    values = list(place.hostile_values())
    return values[_number(place) % len(values)]


def _all_values(place: Place) -> list[str]:
    values = list(place.hostile_values())
    return (
        values[_number(place) % JOBS_SAMPLED :: JOBS_SAMPLED] if place.path in JOB_PATHS else values
    )


def _number(place: Place) -> int:
    return zlib.crc32(f"{place.name} {place.kind}".encode())


def _of_kind(trial: Trial, place: Place, value: str) -> Place:
    """Return the place that has the value: a field may be a text and a list."""
    alike = [one for one in trial.document.places() if one.name == place.name]
    return next(one for one in alike if value in one.hostile_values())


def _sum(cost: Any) -> float:
    return float(cost.work_s + cost.stall_s)
