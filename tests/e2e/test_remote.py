"""Remote models of the whole program: two localruns as engines, and one in front of them."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.store.store import embedded_models
from tests.clients.conftest import ENDLESS
from tests.e2e.conftest import Home, make_home, server_of
from tests.e2e.test_sight import digit
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUM_REQUESTS, AT_ONCE = 60, 6
STORY = {"role": "user", "content": "Tell me a story"}


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Home]]:
    homes = [make_home(tmp_path_factory.mktemp("engine")) for _ in range(2)]
    for home in homes:
        home.environ["LOCALRUN_MODELS"] = f"{home.environ['HOME']}/models"
        assert home.run("create", "endless", "-f", "-", stdin=ENDLESS).returncode == 0
        text = shutil.copy(embedded_models()["guide:latest"], tmp_path_factory.mktemp("text"))
        assert home.run("create", "text", "-f", "-", stdin=f"FROM {text}\n").returncode == 0
        assert home.run("run", "guide", "hi").returncode == 0
    yield homes
    for home in homes:
        home.run("stop", "--server")


@pytest.fixture(scope="module")
def front(engines: list[Home], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("front")
    home = make_home(folder)
    home.environ["LOCALRUN_MODELS"] = str(folder / "models")
    urls = [engine.url for engine in engines]
    added = home.run("remote", "add", "pool", *urls, "--model", "guide")
    assert added.stderr == ""
    for name in ("endless", "text"):
        assert home.run("remote", "add", name, *urls, "--model", name).stderr == ""
    assert home.run("run", "pool", "hi").returncode == 0
    yield home
    home.run("stop", "--server")


def status_of(front: Home, number: int) -> int:
    body = {
        "model": "pool",
        "messages": [{"role": "user", "content": f"hi {number}"}],
        "max_tokens": 4,
    }
    return httpx.post(f"{front.url}/v1/chat/completions", json=body, timeout=60).status_code


def num_answers(home: Home) -> int:
    lines = httpx.get(f"{home.url}/metrics").text.splitlines()
    return sum(
        int(line.rpartition(" ")[2]) for line in lines if line.startswith("localrun_answers_total{")
    )


def test_what_the_engine_says_of_its_model_is_known_here(front: Home) -> None:
    remotes = json.loads(front.run("remote", "list", "--json").stdout)

    (remote,) = (remote for remote in remotes if remote["name"] == "pool:latest")
    assert remote["engine"] == "localrun"
    assert remote["capabilities"] == ["completion", "tools", "thinking", "vision", "audio"]
    assert remote["context_length"] == 2048


def test_the_engines_share_the_requests(front: Home, engines: list[Home]) -> None:
    before = [num_answers(engine) for engine in engines]

    with ThreadPoolExecutor(AT_ONCE) as threads:
        statuses = list(threads.map(lambda number: status_of(front, number), range(NUM_REQUESTS)))

    assert statuses == [200] * NUM_REQUESTS
    shares = [num_answers(engine) - count for engine, count in zip(engines, before, strict=True)]
    assert sum(shares) == NUM_REQUESTS
    assert min(shares) > NUM_REQUESTS // 5


def test_a_stream_of_an_engine_that_is_killed_ends_with_its_address(
    front: Home, engines: list[Home]
) -> None:
    body = {"model": "endless", "messages": [STORY], "stream": True}
    url = f"{front.url}/v1/chat/completions"

    with httpx.stream("POST", url, json=body, timeout=60) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if '"content": ""' not in line and "content" in line)
        open_at = [
            engine
            for engine in engines
            if any(row["num_open"] for row in httpx.get(f"{engine.url}/api/ps").json()["models"])
        ]
        for engine in open_at:
            server_of(engine).kill()
        events = [line for line in lines if line.startswith("data: ")]

    assert events[-1] == "data: [DONE]"
    error = json.loads(events[-2].removeprefix("data: "))["error"]
    assert error["code"] == "remote_engine_error"
    assert any(engine.address in error["message"] for engine in open_at)
    assert [status_of(front, number) for number in range(10)] == [200] * 10  # the other engine


def test_an_engine_that_comes_back_is_used_again(front: Home, engines: list[Home]) -> None:
    for engine in engines:
        assert engine.run("run", "guide", "hi").returncode == 0
    before = [num_answers(engine) for engine in engines]
    numbers = count(NUM_REQUESTS)  # a prompt that came before goes where its cache is

    def both_answer() -> bool:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(lambda number: status_of(front, number), islice(numbers, AT_ONCE)))
        counts = [num_answers(engine) for engine in engines]
        return all(now > then for now, then in zip(counts, before, strict=True))

    wait_until(both_answer)


def test_a_picture_is_passed_on(engines: list[Home], front: Home, tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(digit("7"))
    words = ("What is this + 4?", "--image", str(tmp_path / "seven.png"))

    here, there = front.run("run", "pool", *words), engines[0].run("run", "guide", *words)

    assert (here.stdout.strip(), here.stderr) == ("7 + 4 = 11.", "")
    assert here.stdout == there.stdout


def test_a_sound_that_the_engine_does_not_hear_is_refused_here(front: Home) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRjAwMDBXQVZF", "format": "wav"}}
    body = {"model": "text", "messages": [{"role": "user", "content": [sound]}]}

    answer = httpx.post(f"{front.url}/v1/chat/completions", json=body)

    assert answer.status_code == 400
    assert "text:latest has no audio support here" in answer.json()["error"]["message"]
    assert "--capability audio" in answer.json()["error"]["message"]
