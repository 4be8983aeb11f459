"""What OpenAI's own models say of our answers, read strictly.

OpenAI's published OpenAPI document is in no package registry, so these are the classes that
are generated from it, those of its client. They say nothing of a field that must be there and
may be null, so NULLABLE does; and they take fields that they do not know, so EXTENSIONS holds
ours, and a test that there is no other.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.serving import Served

CALL = '<tool_call>{"name": "look", "arguments": {"a": 1}}</tool_call>'
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
THOUGHT = "say I see</think>\n\nIt is so"
NULLABLE = {
    "chat.completion.choice": {"logprobs", "finish_reason"},
    "message": {"content", "refusal"},
    "chat.completion.chunk.choice": {"finish_reason"},
    "token": {"bytes"},
    "text_completion.choice": {"logprobs", "finish_reason"},
    "error": {"param", "code"},
}
EXTENSIONS = {"reasoning_content", "timings"}

ASKED = [
    ("say one two", {}),
    ("say one two", {"n": 2, "logprobs": True, "top_logprobs": 2}),
    (THOUGHT, {"reasoning_effort": "high"}),
    (f"say Look {CALL}\n{CALL}", {"tools": TOOLS}),
]


def ask(served: Served, prompt: str, **fields: Any) -> httpx.Response:
    body = {"model": "fake", "messages": [{"role": "user", "content": prompt}], **fields}
    return httpx.post(f"{served.url}/v1/chat/completions", json=body)


@pytest.mark.parametrize(("prompt", "fields"), ASKED)
def test_a_chat_completion_is_one(served: Served, prompt: str, fields: dict[str, Any]) -> None:
    text = ask(served, prompt, **fields).text

    answer = ChatCompletion.model_validate_json(text, strict=True)
    raw = json.loads(text)

    assert unknown_of(answer) <= EXTENSIONS
    for choice in raw["choices"]:
        assert NULLABLE["chat.completion.choice"] <= set(choice)
        assert NULLABLE["message"] <= set(choice["message"])
        for token in (choice["logprobs"] or {"content": []})["content"]:
            assert NULLABLE["token"] <= set(token)


@pytest.mark.parametrize(("prompt", "fields"), ASKED)
def test_a_chunk_is_one(served: Served, prompt: str, fields: dict[str, Any]) -> None:
    usage = {"include_usage": True}
    lines = ask(served, prompt, stream=True, stream_options=usage, **fields).text.split("\n\n")
    *chunks, done, empty = lines

    assert (done, empty) == ("data: [DONE]", "")
    for line in chunks:
        text = line.removeprefix("data: ")
        chunk = ChatCompletionChunk.model_validate_json(text, strict=True)
        assert unknown_of(chunk) <= EXTENSIONS
        for choice in json.loads(text)["choices"]:
            assert NULLABLE["chat.completion.chunk.choice"] <= set(choice)


@pytest.mark.parametrize("fields", [{}, {"logprobs": 2}, {"n": 2, "echo": True}])
def test_a_completion_is_one(served: Served, fields: dict[str, Any]) -> None:
    body = {"model": "fake", "prompt": "say one two", **fields}
    text = httpx.post(f"{served.url}/v1/completions", json=body).text

    answer = Completion.model_validate_json(text, strict=True)

    assert unknown_of(answer) <= EXTENSIONS
    for choice in json.loads(text)["choices"]:
        assert NULLABLE["text_completion.choice"] <= set(choice)


def test_embeddings_are(served: Served) -> None:
    body = {"model": "fake", "input": ["one", "three"]}
    answer = httpx.post(f"{served.url}/v1/embeddings", json=body)

    found = CreateEmbeddingResponse.model_validate_json(answer.text, strict=True)

    assert [one.index for one in found.data] == [0, 1]
    assert unknown_of(found) == set()


def test_models_are(served: Served) -> None:
    listed = httpx.get(f"{served.url}/v1/models").json()
    one = httpx.get(f"{served.url}/v1/models/fake").json()

    assert (listed["object"], listed["data"]) == ("list", [one])
    assert unknown_of(Model.model_validate(one, strict=True)) == set()


@pytest.mark.parametrize("fields", [{"model": "nosuch"}, {"n": "two"}, {"messages": []}])
def test_an_error_is(served: Served, fields: dict[str, Any]) -> None:
    error = ask(served, "fail", **fields).json()["error"]

    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    assert NULLABLE["error"] <= set(error)


def unknown_of(value: object) -> set[str]:
    """Return the names of all fields that OpenAI's models do not know."""
    return set(_unknown(value))


def _unknown(value: object) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from value.model_extra or ()
        for name in type(value).model_fields:
            yield from _unknown(getattr(value, name))
    elif isinstance(value, list):
        for each in value:
            yield from _unknown(each)
