"""Several answers, scores and full contexts by real clients on the real model."""

from __future__ import annotations

import contextlib
import json
import math
from typing import TYPE_CHECKING, Any

import httpx
import ollama
import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Home

QUESTION: list[Any] = [{"role": "user", "content": "What is 7 + 5?"}]
LONG: list[Any] = [{"role": "user", "content": "Which colours has a rainbow? " * 60}]
NUM_CTX = 2048


@pytest.fixture(scope="module")
def client(server: Home) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="local", max_retries=0) as found:
        yield found


def post(server: Home, **fields: Any) -> httpx.Response:
    body = {"model": "guide", "messages": QUESTION, **fields}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body)


def test_the_openai_client_gets_several_answers(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="guide", messages=LONG, n=4, seed=1, temperature=1.5, max_tokens=12
    )

    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert len({choice.message.content for choice in answer.choices}) > 1
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 12


def test_a_stream_of_choices_has_each_of_them_whole(client: openai.OpenAI) -> None:
    texts, ends = ["", "", ""], []

    stream = client.chat.completions.create(
        model="guide",
        messages=QUESTION,
        n=3,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    usages = []
    for chunk in stream:
        usages += [chunk.usage] if chunk.usage else []
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends += [choice.index] if choice.finish_reason else []

    assert texts == ["7 + 5 = 12."] * 3
    assert sorted(ends) == [0, 1, 2]
    assert [usage.completion_tokens % 3 for usage in usages] == [0]


def test_scores_spell_the_answer_streamed_or_not(client: openai.OpenAI) -> None:
    fields: dict[str, Any] = {
        "model": "guide",
        "messages": [{"role": "user", "content": "echo: 😀 🚀"}],
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 3,
    }

    (choice,) = client.chat.completions.create(**fields).choices
    streamed: list[Any] = []
    for chunk in client.chat.completions.create(**fields, stream=True):
        if chunk.choices[0].logprobs:
            streamed += chunk.choices[0].logprobs.content

    assert choice.logprobs is not None
    found = choice.logprobs.content or []
    spelled = bytes(byte for one in found for byte in one.bytes or [])
    assert spelled.decode() == choice.message.content == "😀 🚀"
    assert [one.bytes for one in streamed] == [one.bytes for one in found]
    for one in found:
        assert one.logprob <= 0
        assert len(one.top_logprobs) == 3
        assert math.isclose(one.top_logprobs[0].logprob, one.logprob)


def test_the_ollama_client_gets_scores(server: Home) -> None:
    with contextlib.closing(ollama.Client(host=server.url)) as client:
        answer = client.chat("guide", QUESTION, logprobs=True, top_logprobs=2)
        generated = client.generate("guide", "What is 7 + 5?", logprobs=True)

    assert answer.logprobs
    assert "".join(one.token for one in answer.logprobs) == answer.message.content
    assert [len(one.top_logprobs or ()) for one in answer.logprobs] == [2] * len(answer.logprobs)
    assert "".join(one.token for one in generated.logprobs or ()) == generated.response


def test_the_oldest_turns_make_room_for_the_question(server: Home) -> None:
    old = [*LONG, {"role": "assistant", "content": "Seven."}] * 8
    body: dict[str, Any] = {
        "model": "guide",
        "messages": [*old, *QUESTION],
        "options": {"temperature": 0},
        "stream": False,
    }

    refused = httpx.post(f"{server.url}/api/chat", json=body)
    done = httpx.post(f"{server.url}/api/chat", json=body | {"truncate": True}).json()

    assert refused.status_code == 400
    assert str(NUM_CTX) in refused.json()["error"]
    num_dropped = done["localrun"]["dropped_messages"]
    assert num_dropped in range(2, 17, 2)
    body["messages"] = [*old, *QUESTION][num_dropped:]
    short = httpx.post(f"{server.url}/api/chat", json=body).json()
    assert short["message"] == done["message"]
    assert short["prompt_eval_count"] == done["prompt_eval_count"]
    assert "localrun" not in short
    whole = int(json.dumps(refused.json()["error"]).split("has ")[1].split()[0])
    assert done["prompt_eval_count"] + done["localrun"]["dropped_tokens"] == whole


def test_an_answer_goes_on_past_the_context_and_says_so(server: Home, tmp_path: Path) -> None:
    (tmp_path / "Modelfile").write_text(
        "FROM guide\nPARAMETER num_ctx 64\nPARAMETER overflow shift\n"
    )
    assert server.run("create", "endless", "-f", str(tmp_path / "Modelfile")).returncode == 0
    fields = {"model": "endless", "ignore_eos": True, "max_tokens": 150, "temperature": 0}

    told = server.run(
        "run", "endless", "What is 7 + 5?", "--temperature", "100", "--top-k", "0", "--top-p", "1",
        "--num-predict", "150", "--seed", "3",
    )  # fmt: skip
    body = post(server, **fields).json()
    ended = post(server, **fields, overflow="error").json()

    assert "(the context is full: left out " in told.stderr
    assert body["usage"]["completion_tokens"] == 150
    assert body["localrun"]["dropped_messages"] == 0
    assert body["localrun"]["dropped_tokens"] > 150 - 64
    assert ended["choices"][0]["finish_reason"] == "length"
    assert ended["usage"]["total_tokens"] == 64
