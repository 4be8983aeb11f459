"""Models managed and taken apart through the server, with the real model and real clients."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx
import ollama
import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Home

HELLO: list[Any] = [{"role": "user", "content": "What is 7 + 5? <|im_end|>"}]


@pytest.fixture(scope="module")
def client(server: Home) -> Iterator[ollama.Client]:
    with contextlib.closing(ollama.Client(host=server.url)) as found:
        yield found


def post(home: Home, path: str, **body: Any) -> Any:
    return httpx.post(f"{home.url}/v1/{path}", json={"model": "guide", **body}).json()


@pytest.mark.parametrize("text", ["What is 7 + 5?", "héllo 😀", "two\nlines", ""])
def test_tokens_of_a_text_spell_it_again(server: Home, text: str) -> None:
    found = post(server, "tokenize", prompt=text, add_special_tokens=False, with_pieces=True)
    back = post(server, "detokenize", tokens=found["tokens"])

    assert back["prompt"] == text
    assert found["count"] == len(found["tokens"]) == len(found["token_strs"])


def test_a_prompt_has_as_many_tokens_as_an_answer_counts(
    server: Home, client: ollama.Client
) -> None:
    applied = post(server, "apply-template", messages=HELLO)
    counted = post(server, "tokenize", messages=HELLO)
    answer = client.chat("guide", HELLO, options={"num_predict": 1})

    assert applied["count"] == counted["count"] == answer.prompt_eval_count
    assert "What is 7 + 5? <|im_end|>" in applied["prompt"]


def test_a_token_that_is_none_is_refused(server: Home) -> None:
    assert "is no token" in post(server, "detokenize", tokens=[2**30])["error"]["message"]


def test_a_model_is_made_asked_copied_and_deleted(client: ollama.Client, server: Home) -> None:
    client.create("answerer", from_="guide", parameters={"temperature": 0, "num_predict": 3})
    asked = client.chat("answerer", HELLO)
    client.copy("answerer", "team/answerer:v2")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x") as other:
        found = other.models.retrieve("team/answerer:v2")
    for name in ("answerer", "team/answerer:v2"):
        client.delete(name)

    assert asked.eval_count == 3
    assert (found.id, found.owned_by) == ("team/answerer:v2", "localrun")
    assert [model.model for model in client.list().models] == ["guide:latest"]
    assert [model.name for model in client.ps().models] == ["guide:latest"]


def test_metrics_tell_what_was_done(server: Home, client: ollama.Client) -> None:
    client.chat("guide", HELLO, options={"num_predict": 2})

    told = httpx.get(f"{server.url}/metrics").text

    assert 'localrun_loads_total{model="guide:latest"} 1' in told
    assert 'localrun_generated_tokens_total{model="guide:latest"}' in told
