from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import ModelNotFoundError
from localrun.server.core import labels as module
from localrun.server.core import metrics
from localrun.server.core.labels import ModelLabels
from localrun.server.core.metrics import Counter, Histogram
from tests.fakes.virtual_loop import VirtualLoop, run_virtually
from tests.server.serving import FakeCatalogue, Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from localrun.services.stored_model import StoredModel

SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\} (\S+)')


@pytest.fixture
def fresh() -> Iterator[Served]:
    with serving() as found:
        yield found


def chat(served: Served, content: str, **fields: Any) -> httpx.Response:
    body = {"model": "fake", "messages": [{"role": "user", "content": content}], **fields}
    return httpx.post(f"{served.url}/api/chat", json=body)


def samples(served: Served) -> dict[tuple[str, str], float]:
    text = httpx.get(f"{served.url}/metrics").text
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            found[match[1], match[2]] = float(match[3])
    return found


def test_requests_are_counted_by_route_and_code(fresh: Served) -> None:
    chat(fresh, "say x")
    chat(fresh, "say x", model="nosuch")
    httpx.get(f"{fresh.url}/v1/models/some/name")
    httpx.get(f"{fresh.url}/no/such/path")

    found = samples(fresh)

    def count(route: str, method: str, code: int) -> float:
        labels = f'route="{route}",method="{method}",code="{code}"'
        return found["localrun_requests_total", labels]

    assert count("/api/chat", "POST", 200) == 1
    assert count("/api/chat", "POST", 404) == 1
    assert count("/v1/models/{name:path}", "GET", 404) == 1
    assert count("none", "GET", 404) == 1


def test_tokens_times_loads_and_crashes_are_counted_by_model(fresh: Served) -> None:
    chat(fresh, "say one two three")
    chat(fresh, "die")
    chat(fresh, "say x", stream=False)

    found = samples(fresh)

    asked = loaded = 'model="fake:latest"'
    assert found["localrun_prompt_tokens_total", asked] == 10
    assert found["localrun_generated_tokens_total", asked] == 4
    assert found["localrun_cached_tokens_total", asked] == 6
    assert found["localrun_queue_seconds_count", asked] == 2
    assert found["localrun_kv_cells", loaded] == 2048
    assert found["localrun_kv_cells_allocated", loaded] == 1024
    assert found["localrun_kv_lacks_memory", loaded] == 0
    assert found["localrun_kv_cells_used", loaded] == 5
    assert found["localrun_running_sequences", loaded] == 1
    assert found["localrun_kv_streams", loaded] == 0
    assert found["localrun_kv_transposed", loaded] == 0
    assert found["localrun_kv_layout_switches", loaded] == 0
    assert found["localrun_waiting_sequences", loaded] == 3
    assert found["localrun_first_token_seconds_count", asked] == 3
    assert found["localrun_gap_seconds_count", asked] == 2
    assert found["localrun_answers_total", f'{asked},end="stop"'] == 2
    assert found["localrun_answers_total", f'{asked},end="runner_died"'] == 1
    assert found["localrun_loads_total", loaded] == 2
    assert found["localrun_crashes_total", loaded] == 1
    assert found["localrun_open_requests", loaded] == 0


def test_every_family_is_in_the_help_and_no_other(fresh: Served) -> None:
    text = httpx.get(f"{fresh.url}/metrics").text
    page = files("localrun").joinpath("docs", "help", "server.md").read_text("utf-8")

    assert set(re.findall("^# TYPE ([a-z_]+) ", text, re.MULTILINE)) == set(
        re.findall("`(localrun_[a-z_]+)`", page)
    )


def test_clients_make_no_labels(fresh: Served) -> None:
    chat(fresh, "say x")
    chat(fresh, "say x", model="fake:latest")
    chat(fresh, "say x", model="invented")
    httpx.post(f"{fresh.url}/v1/embeddings", json={"model": "made up", "input": "x"})
    httpx.request("PROPFIND", f"{fresh.url}/healthz")

    found = samples(fresh)

    assert found["localrun_answers_total", 'model="fake:latest",end="stop"'] == 2
    assert found["localrun_answers_total", 'model="unknown",end="model_not_found"'] == 1
    assert found["localrun_requests_total", 'route="/healthz",method="other",code="405"'] == 1
    assert not [labels for _, labels in found if "invented" in labels.lower() or "made" in labels]


def test_a_model_with_adapters_has_the_models_label() -> None:
    model = FakeCatalogue().model
    labels = ModelLabels(lambda name: replace(model, name=name))
    labels.find("guide:latest+pirate@0.3")

    assert labels.of("guide:latest+pirate@0.3") == "guide:latest"
    assert labels.of("guide") == "unknown"


def test_a_name_is_forgotten_with_its_model_and_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_NAMES", 2)
    model, gone = FakeCatalogue().model, set[str]()

    def find(name: str) -> StoredModel:
        if name in gone:
            raise ModelNotFoundError(name)
        return model

    labels = ModelLabels(find)
    for name in ("a", "b", "c", "b"):
        labels.find(name)
    gone.add("b")
    with pytest.raises(ModelNotFoundError):
        labels.find("b")

    assert [labels.of(name) for name in "abc"] == ["unknown", "unknown", "fake:latest"]


def test_a_server_that_leaves_is_not_ready(fresh: Served) -> None:
    before = httpx.get(f"{fresh.url}/readyz").status_code
    fresh.pool.close()

    assert (before, httpx.get(f"{fresh.url}/readyz").status_code) == (200, 503)
    assert httpx.get(f"{fresh.url}/healthz").status_code == 200


@given(st.text())
def test_a_label_of_any_text_is_one_sample(text: str) -> None:
    counter = Counter("some_total", "Some.")
    counter.add(1, model=text)

    assert SAMPLE.fullmatch(list(counter.lines())[-1])


@given(st.lists(st.floats(0, 100)))
def test_every_time_is_in_one_bucket_and_those_above(times: list[float]) -> None:
    histogram = Histogram("some_seconds", "Some.", (0.1, 1.0, 10.0))
    for seconds in times:
        histogram.observe(seconds, model="m")

    told = dict(line.rsplit(" ", 1) for line in list(histogram.lines())[2:])
    counts = [sum(seconds <= bound for seconds in times) for bound in (0.1, 1.0, 10.0)]
    buckets = [int(value) for name, value in told.items() if "_bucket" in name]
    assert buckets == ([*counts, len(times)] if times else [])


def test_names_that_clients_invent_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MAX_SERIES", 3)
    counter, histogram = Counter("a_total", "A."), Histogram("a_seconds", "A.", (1.0,))
    for number in range(9):
        counter.add(1, model=str(number))
        counter.add(1, model="0")
        histogram.observe(0.5, model=str(number))

    assert (len(counter.values), len(histogram.values)) == (3, 3)
    assert counter.values[(("model", "0"),)] == 10


def test_an_event_loop_that_is_late_is_noticed() -> None:
    found = metrics.Metrics()

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.sleep(0)
        time.sleep(metrics.LAG_EVERY_S + 0.05)  # noqa: ASYNC251, TID251 - to be noticed
        await asyncio.sleep(0.01)

    async def late() -> None:
        watching = asyncio.create_task(found.watch_loop())
        await call(found, app)
        watching.cancel()

    asyncio.run(late())

    assert found.loop_lag_seconds.sums[()] >= 0.05


def test_the_event_loop_is_measured_while_requests_are_open_only() -> None:
    found = metrics.Metrics()
    num_wakeups: list[int] = []

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.sleep(10 * metrics.LAG_EVERY_S)

    async def main(loop: VirtualLoop) -> None:
        watching = asyncio.create_task(found.watch_loop())
        for _ in range(2):
            await call(found, app)
            await asyncio.sleep(metrics.LAG_EVERY_S)  # the last one is under way
            before = loop.num_wakeups
            await asyncio.sleep(3600)
            num_wakeups.append(loop.num_wakeups - before)
        watching.cancel()

    run_virtually(main)

    assert num_wakeups == [1, 1]
    assert sum(found.loop_lag_seconds.values[()]) >= 20


async def call(found: metrics.Metrics, app: ASGIApp) -> None:
    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_: Message) -> None:
        return

    await found.watch(app)({"type": "http", "method": "GET"}, receive, send)
