"""An assistant message that is continued by the real model, over each API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Home

QUESTION = {"role": "user", "content": "What is the capital of France?"}
SCHEMA = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}


def post(server: Home, path: str, *messages: dict[str, str], **fields: Any) -> Any:
    body = {"model": "guide", "messages": messages, **fields}
    return httpx.post(f"{server.url}{path}", json=body).json()


def answered(server: Home, *messages: dict[str, str], **fields: Any) -> str:
    body = post(server, "/v1/chat/completions", *messages, temperature=0, **fields)
    text: str = body["choices"][0]["message"]["content"]
    return text


def beginning_of(text: str) -> str:
    """Return the text up to its last word: where a token ends, too."""
    return text.rpartition(" ")[0]


def begun(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_the_rest_of_an_answer_is_what_would_have_followed(server: Home) -> None:
    whole = answered(server, QUESTION)
    beginning = beginning_of(whole)

    rest = answered(server, QUESTION, begun(beginning))

    assert beginning + rest == whole


@pytest.mark.parametrize("path", ["/api/chat", "/v1/messages"])
def test_other_apis_continue_alike(server: Home, path: str) -> None:
    whole = answered(server, QUESTION)
    beginning = beginning_of(whole)
    cold: dict[str, Any] = {"options": {"temperature": 0}} if path == "/api/chat" else {}

    body = post(
        server,
        path,
        QUESTION,
        begun(beginning),
        **cold,
        temperature=0,
        max_tokens=100,
        stream=False,
    )

    text = body["message"]["content"] if "message" in body else body["content"][0]["text"]
    assert beginning + text == whole


def test_a_schema_holds_for_the_message_as_a_whole(server: Home) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA}}
    sum_of_two = {"role": "user", "content": "What is 2 + 2? Answer in JSON."}

    rest = answered(server, sum_of_two, begun('{"sum": '), response_format=wanted)
    refused = post(server, "/v1/chat/completions", sum_of_two, begun("No."), response_format=wanted)

    assert isinstance(json.loads('{"sum": ' + rest)["sum"], int)
    assert "does not allow the text of the continued message" in refused["error"]["message"]


def test_the_prompt_of_a_continued_message_can_be_seen(server: Home) -> None:
    prompt = post(server, "/v1/apply-template", QUESTION, begun("It is "))["prompt"]
    without = post(server, "/v1/apply-template", QUESTION, add_generation_prompt=False)["prompt"]

    assert prompt.endswith("It is ")
    assert prompt.startswith(without)
