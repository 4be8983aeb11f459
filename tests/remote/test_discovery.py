from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.registry.http import OfflineError
from localrun.remote.discovery import ask_addresses
from localrun.remote.errors import RemoteEngineError
from localrun.remote.model import EngineKind, remote_address
from tests.fakes.engine import Asked, Wire, fake_engine, refused_url

if TYPE_CHECKING:
    import pytest


def listing(*models: object) -> object:
    return lambda _, wire: wire.json({"object": "list", "data": list(models)})


def test_engines_say_what_they_are_and_how_long_prompts_may_be() -> None:
    models = [
        {"id": "a", "owned_by": "vllm", "max_model_len": 4096},
        {"id": "b", "owned_by": "llamacpp", "meta": {"n_ctx_train": 32768}},
        {"id": "c", "owned_by": "localrun"},
        {"id": "d", "owned_by": "me", "max_model_len": "long"},
        {"id": 5},
        "e",
    ]

    with fake_engine(listing(*models)) as engine:  # type: ignore[arg-type] # a script
        address = remote_address(engine.url, "b")
        (report,) = ask_addresses("big", [address], "key", {}, is_offline=True)

    assert [(each.id, each.engine, each.context_length) for each in report.models] == [
        ("a", EngineKind.VLLM, 4096),
        ("b", EngineKind.LLAMA_SERVER, 32768),
        ("c", EngineKind.LOCALRUN, None),
        ("d", EngineKind.COMPATIBLE, None),
    ]
    assert report.offered is not None
    assert engine.asked[0].headers["authorization"] == "Bearer key"


def test_localrun_says_what_its_models_do() -> None:
    tag = {
        "name": "guide:latest",
        "capabilities": ["completion", "tools", "thinking", "flying"],
        "details": {"context_length": 2048},
    }

    def script(asked: Asked, wire: Wire) -> None:
        if asked.path == "/api/tags":
            wire.json({"models": [tag]})
        else:
            wire.json({"data": [{"id": id_, "owned_by": "localrun"} for id_ in ("guide", "x")]})

    with fake_engine(script) as engine:
        (report,) = ask_addresses(
            "big", [remote_address(engine.url, "guide")], "key", {}, is_offline=True
        )

    guide, other = report.models
    assert guide.capabilities == ("completion", "tools", "thinking")
    assert guide.context_length == 2048
    assert (other.capabilities, other.context_length) == (None, None)
    assert all(each.headers["authorization"] == "Bearer key" for each in engine.asked)


def test_each_address_has_its_own_report() -> None:
    def no_list(_: Asked, wire: Wire) -> None:
        wire.json({"hello": "world"})

    with fake_engine(no_list) as engine:
        urls = (engine.url, refused_url(), "http://gpu1.example:8000/v1")
        addresses = [remote_address(url, "m") for url in urls]
        reports = ask_addresses("big", addresses, None, {}, is_offline=True)

    assert [type(report.error) for report in reports] == [
        RemoteEngineError,
        RemoteEngineError,
        OfflineError,
    ]
    assert "is it OpenAI's API?" in str(reports[0].error)


def test_an_engine_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localrun.remote.engines.PROBE_S", 0.1)

    with fake_engine(lambda _, wire: wire.wait_for_end()) as engine:
        addresses = [remote_address(engine.url, "m")]
        (report,) = ask_addresses("big", addresses, None, {}, is_offline=False)

    assert "did not answer" in str(report.error)
