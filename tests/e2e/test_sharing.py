"""Recipes on the same weights: one process, one copy of them, each with its own answers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from tests.e2e.conftest import make_home

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Home

PIRATE = Path(__file__).parents[2] / "modelfiles" / "pirate.Modelfile"
QUESTION = "How do I download a model?"
ECHO = 'FROM guide\nTEMPLATE """{{ .Prompt }}"""\n'
POLITE = "FROM guide\nSYSTEM Be polite.\nPARAMETER temperature 0\n"
NAMES = ["guide", "guide+pirate", "polite", "pirate", "echo", "guide+pirate@0.5"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("sharing")
    found = make_home(folder)
    found.environ["LOCALRUN_MODELS"] = str(folder / "models")
    assert found.run("create", "pirate", "-f", str(PIRATE)).returncode == 0
    for name, recipe in (("echo", ECHO), ("polite", POLITE)):
        assert found.run("create", name, "-f", "-", stdin=recipe).returncode == 0
    assert found.run("run", "guide", "hi").returncode == 0
    yield found
    found.run("stop", "--server")


def ask(home: Home, name: str) -> str:
    body = {
        "model": name,
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": 24,
    }
    reply = httpx.post(f"{home.url}/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["message"]["content"])


def runners(home: Home) -> list[int]:
    server = httpx.get(f"{home.url}/api/version").json()["pid"]
    children = psutil.Process(server).children(recursive=True)
    return [child.pid for child in children if "runner" in child.cmdline()]


def rows(home: Home) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(home.run("ps", "--json").stdout)
    return found


def test_many_recipes_at_once_share_a_process_and_answer_as_when_alone(home: Home) -> None:
    before = runners(home)
    alone = {}
    for name in NAMES:
        assert home.run("stop", "--all").returncode == 0
        assert runners(home) == []
        alone[name] = ask(home, name)
    assert len(set(alone.values())) >= 4

    with ThreadPoolExecutor(12) as threads:
        together = list(threads.map(lambda name: ask(home, name), NAMES * 2))

    same = sum(text == alone[name] for text, name in zip(together, NAMES * 2, strict=True))
    assert (
        same >= 10
    )  # batches of other sizes add in another order: a near-tie may fall differently
    assert len(before) == len(runners(home)) == 1


def test_going_from_one_to_another_loads_nothing(home: Home) -> None:
    ask(home, "guide")
    before = runners(home)

    for name in NAMES:
        ask(home, name)

    assert runners(home) == before
    shown = {row["name"]: row["shared_with"] for row in rows(home)}
    assert list(shown.values()).count(None) == 1
    assert {"guide:latest", "pirate:latest", "polite:latest"} <= set(shown)


def test_the_memory_of_an_adapter_counts_from_its_first_use(home: Home) -> None:
    home.run("stop", "--all")
    ask(home, "guide")
    before = rows(home)[0]["size_bytes"]

    ask(home, "guide+pirate")
    after = {row["size_bytes"] for row in rows(home)}

    adapter = PIRATE.parent / "adapters" / "pirate.gguf"
    assert after == {before + adapter.stat().st_size}


def test_stopping_a_name_leaves_the_others(home: Home) -> None:
    for name in ("guide", "polite"):
        ask(home, name)
    before = runners(home)

    home.run("stop", "guide")
    left = [row["name"] for row in rows(home)]
    for name in left:
        assert runners(home) == before
        home.run("stop", name)

    assert "polite:latest" in left
    assert "guide:latest" not in left
    assert runners(home) == []


def test_an_adapter_that_cannot_be_used_fails_its_own_request(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF" + b"\xff" * 100)
    ask(home, "guide")
    before = runners(home)

    body = {"model": f"guide+{path}", "messages": [{"role": "user", "content": "hi"}]}
    reply = httpx.post(f"{home.url}/v1/chat/completions", json=body)

    assert reply.status_code >= 400
    assert "bad.gguf" in reply.json()["error"]["message"]
    assert ask(home, "guide+pirate")
    assert runners(home) == before
