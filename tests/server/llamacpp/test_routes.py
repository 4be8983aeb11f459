"""What programs of llama-server and vLLM ask at the root."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.server.llamacpp import tokens as root_tokens
from localrun.services.workspace import Workspace
from localrun.settings import Settings
from tests.server.json_schema import problems
from tests.server.serving import FakeCatalogue, Served, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.services.stored_model import StoredModel

HELLO = [{"role": "user", "content": "hé"}]


@pytest.fixture
def fresh() -> Iterator[Served]:
    """Return a server that has loaded nothing yet."""
    with serving() as found:
        yield found


@pytest.fixture
def guide_server(tmp_path: Path) -> Iterator[Served]:
    """Return a server on an empty store: guide, the embedded model, is its only one."""
    settings = Settings(log_dir=tmp_path / "log", models_dir=tmp_path / "store")
    with serving(workspace=Workspace(settings, {}, home=tmp_path)) as found:
        yield found


class TwoModels(FakeCatalogue):
    """The fake model, and another one."""

    def list_models(self) -> list[StoredModel]:
        return [self.model, self.model]


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr("tests.server.serving.FakeCatalogue", TwoModels)
    with serving() as found:
        yield found


def post(served: Served, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{served.url}/{path}", json=body, timeout=30)


def test_the_only_model_needs_no_name(fresh: Served) -> None:
    assert post(fresh, "tokenize", content="hé").json() == {"tokens": [104, 233]}
    assert post(fresh, "detokenize", tokens=[104, 233]).json()["content"] == "hé"
    assert post(fresh, "apply-template", messages=HELLO).json()["prompt"] == "hé"


def test_the_only_loaded_model_needs_no_name(crowded: Served) -> None:
    refused = post(crowded, "tokenize", content="a")
    named = post(crowded, "tokenize", content="a", model="fake")
    meant = post(crowded, "tokenize", content="a")

    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "model"
    assert "such as one of fake" in refused.json()["error"]["message"]
    assert named.json() == meant.json() == {"tokens": [97]}


def test_pieces_are_texts_or_bytes() -> None:
    assert root_tokens.piece_json("é".encode()) == "é"
    assert root_tokens.piece_json(b"\xc3") == [0xC3]


def test_pieces_come_with_their_tokens(served: Served) -> None:
    found = post(served, "tokenize", content="hé", with_pieces=True).json()

    assert found == {"tokens": [{"id": 104, "piece": "h"}, {"id": 233, "piece": "é"}]}


def test_vllms_requests_are_answered_as_under_v1(served: Served) -> None:
    body = {"model": "fake", "prompt": "hé", "return_token_strs": True}

    found = post(served, "tokenize", **body).json()

    assert found == {
        "count": 2,
        "max_model_len": 2048,
        "tokens": [104, 233],
        "token_strs": ["h", "é"],
    }
    assert post(served, "v1/tokenize", **body).json() == found


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"content": 3}, "content"),
        ({"content": "a", "add_special": 1}, "add_special"),
        ({"content": "a", "parse_special": "x"}, "parse_special"),
        ({}, "prompt"),
        ({"content": "a", "model": 3}, "model"),
    ],
)
def test_a_wrong_field_is_400_and_named(served: Served, body: dict[str, Any], named: str) -> None:
    response = post(served, "tokenize", **body)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == named


def test_reads_load_nothing_and_slots_follow_the_load(fresh: Served) -> None:
    before = httpx.get(f"{fresh.url}/slots").json()
    states_before = fresh.pool.states()
    post(fresh, "tokenize", content="a")
    after = httpx.get(f"{fresh.url}/slots", params={"model": "fake"}).json()

    assert (before, states_before) == ([], [])
    assert [slot["id"] for slot in after] == list(range(len(after)))
    assert after[0] == {
        "id": 0,
        "model": "fake:latest",
        "n_ctx": 2048,
        "speculative": False,
        "is_processing": False,
    }


def test_a_slot_is_busy_while_a_request_runs(fresh: Served) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "hang"}]}
    with httpx.stream("POST", f"{fresh.url}/v1/chat/completions", json=body | {"stream": True}):
        found = httpx.get(f"{fresh.url}/slots").json()

    assert [slot["is_processing"] for slot in found].count(True) == 1


@pytest.mark.parametrize("path", ["slots", "props", "tokenizer_info"])
def test_reads_of_an_unknown_model_are_404_and_pass_the_gate(served: Served, path: str) -> None:
    url = f"{served.url}/{path}"

    unknown = httpx.get(url, params={"model": "nosuch"})
    foreign = httpx.get(url, headers={"Host": "evil.example"})

    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "model_not_found"
    assert foreign.status_code == 403


def test_props_and_the_tokenizer_are_told_of_the_file(guide_server: Served) -> None:
    document = httpx.get(f"{guide_server.url}/openapi.json").json()
    props = httpx.get(f"{guide_server.url}/props").json()
    tokenizer = httpx.get(f"{guide_server.url}/tokenizer_info").json()

    named = document["components"]["schemas"]
    assert problems(document, named["Props"], props) == []
    assert problems(document, named["TokenizerInfo"], tokenizer) == []
    assert problems(document, named["Slots"], httpx.get(f"{guide_server.url}/slots").json()) == []
    assert (props["model_alias"], props["is_sleeping"]) == ("guide", True)
    assert props["default_generation_settings"]["n_ctx"] == 0
    assert props["default_generation_settings"]["params"]["top_k"] == 40
    assert "<|im_start|>" in props["chat_template"]
    assert props["eos_token"] == tokenizer["eos_token"] == "<|im_end|>"  # noqa: S105 - a token of the vocabulary
    assert tokenizer["model_max_length"] == 2048
    assert "/" not in json.dumps({**props, "chat_template": ""})
    assert guide_server.pool.states() == []
