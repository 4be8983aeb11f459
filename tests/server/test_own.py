"""What our own commands ask: loads, their progress, and the state of all models."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.server import streaming
from localrun.server.core.client import client_of
from tests.server.serving import FakeCatalogue, serving
from tests.unix_calls import make_pipe
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.server.serving import Served


def states(served: Served) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{served.url}/api/localrun/ps").json()["models"]
    return found


def test_a_load_can_pin_and_stop_unpins(served: Served) -> None:
    answer = httpx.post(f"{served.url}/api/localrun/load", json={"model": "fake", "pin": True})
    (pinned,) = states(served)
    httpx.post(f"{served.url}/api/generate", json={"model": "fake", "keep_alive": 0})

    assert json.loads(answer.text.splitlines()[-1])["status"] == "ready"
    assert (pinned["state"], pinned["pinned"], pinned["stays_for_ever"]) == ("ready", True, True)
    assert states(served) == []


def test_the_cells_that_have_memory_and_those_that_are_reserved_are_told(served: Served) -> None:
    httpx.post(f"{served.url}/api/localrun/load", json={"model": "fake"})
    wait_until(lambda: states(served)[0]["context_total"], "the statistics of the runner")

    (model,) = states(served)

    assert (model["context_allocated"], model["context_total"]) == (1024, 2048)
    assert (model["context_used"], model["context_lacks_memory"]) == (5, False)


def test_a_load_that_fails_has_its_own_status() -> None:
    with serving("broken.gguf") as served:
        answer = httpx.post(f"{served.url}/api/localrun/load", json={"model": "fake"})

    assert answer.status_code in {200, 500}  # 200 where it took long enough for a sign of it
    assert json.loads(answer.text.splitlines()[-1])["code"] == "load_failed"


@pytest.fixture
def slow_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "waits.gguf"
    make_pipe(path)
    init = FakeCatalogue.__init__

    def with_pipe(self: FakeCatalogue, _file: str = "") -> None:
        init(self, str(path))

    monkeypatch.setattr(FakeCatalogue, "__init__", with_pipe)
    return path


@pytest.mark.parametrize("wants_progress", [True, False])
def test_only_who_asks_for_it_is_told_how_far_a_load_is(
    slow_file: Path, monkeypatch: pytest.MonkeyPatch, *, wants_progress: bool
) -> None:
    frames: list[dict[str, Any]] = []
    body = {"model": "fake", "messages": [{"role": "user", "content": "say hi"}]}
    headers = {"X-Localrun-Progress": "1"} if wants_progress else {}
    monkeypatch.setattr(streaming, "PROGRESS_S", 0.02)
    with serving() as served:

        def may_load() -> bool:
            heard = [frame.get("progress") for frame in frames]
            return 0.5 in (
                heard if wants_progress else [row.progress for row in served.pool.states()]
            )

        def finish_load() -> None:
            wait_until(may_load)
            slow_file.write_text("go")

        loader = threading.Thread(target=finish_load)
        loader.start()
        with httpx.stream("POST", f"{served.url}/api/chat", json=body, headers=headers) as response:
            frames.extend(map(json.loads, response.iter_lines()))  # each as it comes
        loader.join()

    told = [frame for frame in frames if "status" in frame]
    assert bool(told) == wants_progress
    if wants_progress:
        assert told[-1] == {"status": "loading", "progress": 0.5, "done": False}
    assert [frame["done"] for frame in frames].count(True) == 1


def test_a_client_is_known_by_its_key_or_its_address() -> None:
    def name(key: bytes | None) -> str:
        headers = [(b"authorization", key)] if key else []
        return client_of({"headers": headers, "client": ("10.0.0.7", 1234)})

    assert name(None) == "10.0.0.7"
    assert name(b"Bearer a") != name(b"Bearer b")
    assert "Bearer" not in name(b"Bearer a")
