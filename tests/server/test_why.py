from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.runner.messages import Stats
from localrun.server.why import cells_setting, drafts_setting, layout_setting
from localrun.settings import load_settings
from tests.server.serving import serving
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.server.serving import Served


def why(served: Served, model: str) -> httpx.Response:
    return httpx.get(f"{served.url}/api/localrun/why", params={"model": model})


def sources(served: Served) -> dict[str, str]:
    return {it["name"]: it["source"] for it in why(served, "fake").json()["settings"]}


def test_a_loaded_model_tells_who_chose_what() -> None:
    with serving() as served:
        options = {"num_ctx": 512}
        body = {"model": "fake", "prompt": "say x", "stream": False, "options": options}
        httpx.post(f"{served.url}/api/generate", json=body)

        told = why(served, "fake").json()

    assert (told["name"], told["context"]) == ("fake:latest", 512)
    context = next(it for it in told["settings"] if it["name"] == "context")
    assert (context["value"], context["source"]) == ("512", "request")


def test_what_the_servers_environment_and_flags_say_is_told_as_such() -> None:
    flags = {"LOCALRUN_DEVICE": "cpu"}
    said = load_settings({"LOCALRUN_KEEP_ALIVE": "10m", "LOCALRUN_MEMORY": "8G"}, flags)
    with serving(sources=said.sources, memory_bytes=said.memory_bytes) as served:
        httpx.post(f"{served.url}/api/localrun/load", json={"model": "fake"})
        told = sources(served)

    assert told["keep alive"] == "environment LOCALRUN_KEEP_ALIVE"
    assert told["memory"] == "environment LOCALRUN_MEMORY"
    assert told["device"] == "flag --device"
    assert told["threads"] == "default"


def test_the_rules_of_the_servers_environment_are_told() -> None:
    said = load_settings(
        {
            "LOCALRUN_CONTEXT_LENGTH": "1024",
            "LOCALRUN_NUM_PARALLEL": "2",
            "LOCALRUN_KV_CACHE_TYPE": "q8_0",
            "LOCALRUN_FLASH_ATTENTION": "on",
            "LOCALRUN_GPU_RESERVE": "2G",
            "LOCALRUN_LOAD_TIMEOUT": "1m",
            "LOCALRUN_READING_SPEED": "20",
            "LOCALRUN_DEBUG": "1",
        }
    )
    with serving(sources=said.sources, loads=said.loads, debug=said.debug) as served:
        httpx.post(f"{served.url}/api/localrun/load", json={"model": "fake"})
        settings = why(served, "fake").json()["settings"]

    told = {it["name"]: (it["value"], it["source"]) for it in settings}
    assert told["context"] == ("1024", "environment LOCALRUN_CONTEXT_LENGTH")
    assert told["parallel"] == ("2", "environment LOCALRUN_NUM_PARALLEL")
    assert told["cache type"] == ("q8_0", "environment LOCALRUN_KV_CACHE_TYPE")
    assert told["flash attention"] == ("True", "environment LOCALRUN_FLASH_ATTENTION")
    assert told["GPU reserve"] == ("2 GB", "environment LOCALRUN_GPU_RESERVE")
    assert told["models at once"] == ("all that fit", "default")
    assert told["load timeout"] == ("60 s", "environment LOCALRUN_LOAD_TIMEOUT")
    assert told["reading speed"] == ("20 tokens/s", "environment LOCALRUN_READING_SPEED")
    assert told["debug"] == ("1", "environment LOCALRUN_DEBUG")


def test_the_threads_are_those_that_the_runner_has() -> None:
    with serving() as served:
        httpx.post(f"{served.url}/api/localrun/load", json={"model": "fake"})
        told = why(served, "fake").json()

    (threads,) = (it for it in told["settings"] if it["name"] == "threads")
    assert (told["threads"], threads["value"]) == (3, "3")  # the fake runner's


def test_the_cells_that_have_memory_and_those_that_are_reserved_are_told() -> None:
    with serving() as served:
        httpx.post(f"{served.url}/api/localrun/load", json={"model": "fake"})
        wait_until(lambda: "KV cache cells" in sources(served), "the statistics of the runner")
        told = why(served, "fake").json()

    (cells,) = (it for it in told["settings"] if it["name"] == "KV cache cells")
    assert (cells["value"], cells["source"]) == ("1024 of 2048", "plan")
    assert cells["reason"] == "a cell takes memory when it is used"


@pytest.mark.parametrize(
    ("stats", "reason"),
    [
        (Stats(num_cells=9, num_allocated_cells=4, lacks_memory=True), "too little memory is free"),
        (Stats(num_cells=9, num_allocated_cells=9), ""),
    ],
)
def test_cells_without_memory_have_a_reason(stats: Stats, reason: str) -> None:
    assert cells_setting(stats).reason.startswith(reason)
    assert bool(cells_setting(stats).reason) is bool(reason)


@pytest.mark.parametrize(
    ("stats", "value", "reason"),
    [
        (Stats(), "unified", ""),
        (
            Stats(uses_streams=True, num_layout_switches=1),
            "a stream for each sequence",
            "changed 1 time to compute faster",
        ),
        (
            Stats(uses_streams=True, is_transposed=True, num_layout_switches=2),
            "a stream for each sequence, values transposed",
            "changed 2 times to compute faster",
        ),
        (Stats(num_layout_switches=2), "unified", "changed 2 times to compute faster"),
    ],
)
def test_the_layout_of_the_cells_is_told(stats: Stats, value: str, reason: str) -> None:
    setting = layout_setting(stats)

    assert (setting.value, setting.reason) == (value, reason)


def test_the_draft_sources_are_named() -> None:
    some, none = drafts_setting(("grammar", "MTP layers")), drafts_setting(())

    assert (some.value, some.reason) == ("grammar, MTP layers", "used as far as they save time")
    assert none.value == "none"
    assert "cannot take tokens back" in none.reason


def test_a_request_that_ends_a_stay_leaves_a_pinned_model_where_it_is() -> None:
    body = {"model": "fake", "prompt": "say x", "stream": False, "keep_alive": 0}
    with serving() as served:
        pin = {"model": "fake", "pin": True}
        httpx.post(f"{served.url}/api/localrun/load", json=pin)
        answer = httpx.post(f"{served.url}/api/generate", json=body).json()
        told = {it["name"]: it for it in why(served, "fake").json()["settings"]}

    assert (answer["done_reason"], told["keep alive"]["value"]) == ("stop", "for ever")
    assert "localrun stop fake:latest" in told["keep alive"]["reason"]


def test_a_stay_that_a_request_asked_for_is_told_as_such() -> None:
    body = {"model": "fake", "prompt": "say x", "stream": False, "keep_alive": "1h"}
    with serving() as served:
        httpx.post(f"{served.url}/api/generate", json=body)

        assert sources(served)["keep alive"] == "request"


def test_a_model_that_failed_tells_why_it_is_not_loaded() -> None:
    with serving() as served:
        body = {"model": "fake", "prompt": "die", "stream": False}
        for _ in range(3):
            httpx.post(f"{served.url}/api/generate", json=body)
        answer = why(served, "fake")

    assert answer.status_code == 404
    assert "fake:latest is not loaded: it failed: killed by SIGKILL" in answer.json()["error"]


def test_a_model_that_is_not_loaded_has_no_reasons() -> None:
    with serving() as served:
        asleep, unknown = why(served, "fake"), why(served, "nosuch")

    assert (asleep.status_code, unknown.status_code) == (404, 404)
    assert "localrun plan fake" in asleep.json()["hint"]
