"""Settings of the whole server, on the real model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.store.store import embedded_models
from tests.e2e.conftest import make_home
from tests.engine.tiny import full_attention

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Home

RULES = {
    "LOCALRUN_CONTEXT_LENGTH": "1024",
    "LOCALRUN_NUM_PARALLEL": "1",
    "LOCALRUN_KV_CACHE_TYPE": "q8_0",
    "LOCALRUN_MAX_MODELS": "1",
    "LOCALRUN_DEBUG": "2",
}
MESSAGES: list[Any] = [{"role": "user", "content": "What is 7 + 5?"}]


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = make_home(tmp_path_factory.mktemp("ruled"))
    ruled = replace(home, environ=home.environ | RULES)
    assert ruled.run("load", "guide").returncode == 0
    yield ruled
    ruled.run("stop", "--server")


def settings_of(home: Home) -> dict[str, tuple[str, str]]:
    told = httpx.get(f"{home.url}/api/localrun/why", params={"model": "guide"}).json()
    return {it["name"]: (it["value"], it["source"]) for it in told["settings"]}


def log_of(home: Home) -> str:
    return Path(home.environ["LOCALRUN_LOG_DIR"], "server.log").read_text()


def test_a_background_server_has_the_rules_of_the_command_that_starts_it(ruled: Home) -> None:
    settings = settings_of(ruled)

    assert settings["context"] == ("1024", "environment LOCALRUN_CONTEXT_LENGTH")
    assert settings["parallel"] == ("1", "environment LOCALRUN_NUM_PARALLEL")
    assert settings["cache type"] == ("q8_0", "environment LOCALRUN_KV_CACHE_TYPE")
    assert settings["models at once"] == ("1", "environment LOCALRUN_MAX_MODELS")


def test_the_environment_of_a_client_changes_nothing(ruled: Home) -> None:
    other = replace(
        ruled,
        environ=ruled.environ | {"LOCALRUN_CONTEXT_LENGTH": "512", "LOCALRUN_NUM_PARALLEL": "4"},
    )

    done = other.run("run", "guide", "hi")

    assert (done.returncode, done.stderr) == (0, "")
    assert settings_of(ruled)["context"][0] == "1024"
    assert settings_of(ruled)["parallel"][0] == "1"


def test_one_sequence_at_a_time_serves_choices_embeddings_and_many_clients(ruled: Home) -> None:
    with httpx.Client(base_url=ruled.url, timeout=None) as client:  # noqa: S113 - pytest has one
        body = {"model": "guide", "messages": MESSAGES, "n": 3, "max_tokens": 8}
        choices = client.post("/v1/chat/completions", json=body).json()["choices"]
        texts = {"model": "guide", "input": ["a", "b", "c"]}
        vectors = client.post("/v1/embeddings", json=texts).json()["data"]
        (state,) = client.get("/api/localrun/ps").json()["models"]

    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert len(vectors) == 3
    assert state["parallel"] == 1
    assert state["context_total"] == 1024


def test_the_log_has_debug_lines_and_no_prompts(ruled: Home) -> None:
    ruled.run("run", "guide", "xyzzy, what is that?")

    log = log_of(ruled)
    assert "DEBUG localrun.supervisor.planning: guide:latest: context = 1024 (default)" in log
    assert "runner: DEBUG localrun.engine.llama.library: llama_context" in log
    assert "xyzzy" not in log


def test_a_model_with_odd_heads_keeps_its_cache_and_takes_the_place_of_the_other(
    ruled: Home, tmp_path: Path
) -> None:
    full_attention(tmp_path / "odd.gguf", embedded_models()["guide:latest"])

    done = ruled.run("run", str(tmp_path / "odd.gguf"), "hi", "--num-predict", "2")
    (loaded,) = httpx.get(f"{ruled.url}/api/localrun/ps").json()["models"]

    assert done.returncode == 0
    assert loaded["name"].endswith("odd.gguf")
    reason = "q8_0 has blocks of 32, and a head of the model has 16 values"
    assert f"odd.gguf keeps a KV cache of f16: {reason}" in log_of(ruled)


def test_a_contradiction_is_one_error_before_anything_starts(ruled: Home) -> None:
    wrong = replace(ruled, environ=ruled.environ | {"LOCALRUN_FLASH_ATTENTION": "0"})

    done = wrong.run("run", "guide", "hi")

    assert done.returncode == 2
    assert done.stderr.startswith("error: LOCALRUN_KV_CACHE_TYPE=q8_0 needs flash attention")
