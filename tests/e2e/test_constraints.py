"""Constraints by real clients on the real model."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import httpx
import ollama
import openai
import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Home

MESSAGES: list[Any] = [{"role": "user", "content": "What is 2 + 2?"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"sum": {"type": "integer", "maximum": 99}, "sure": {"type": "boolean"}},
    "required": ["sum", "sure"],
}


def post(server: Home, path: str = "/v1/chat/completions", **fields: Any) -> httpx.Response:
    body = {"model": "guide", "messages": MESSAGES, "temperature": 0, **fields}
    return httpx.post(f"{server.url}{path}", json=body)


def is_shaped(text: str) -> bool:
    value = json.loads(text)
    return list(value) == ["sum", "sure"] and type(value["sum"]) is int


def test_the_openai_client_gets_what_its_schema_says(server: Home) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="local", max_retries=0) as client:
        answer = client.chat.completions.create(
            model="guide",
            messages=MESSAGES,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "sum", "schema": SCHEMA, "strict": True},
            },
        )

    assert is_shaped(answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("think", [None, False, True])
def test_the_ollama_client_gets_it_with_or_without_a_thought(
    server: Home, *, think: bool | None
) -> None:
    with contextlib.closing(ollama.Client(host=server.url)) as client:
        answer = client.chat("guide", MESSAGES, format=SCHEMA, think=think, options={"seed": 1})

    assert is_shaped(answer.message.content or "")
    assert bool(answer.message.thinking) is bool(think)


def test_vllms_and_llama_servers_names_are_honoured(server: Home) -> None:
    for fields in (
        {"guided_choice": ["blue", "green"]},
        {"guided_regex": "blue|green"},
        {"grammar": 'root ::= "blue" | "green"'},
        {"structured_outputs": {"grammar": 'start: "blue" | "green"'}},
    ):
        answer = post(server, **fields).json()

        assert answer["choices"][0]["message"]["content"] in {"blue", "green"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "param", "complaint"),
    [
        ({"guided_json": {"type": "array", "contains": {}}}, "guided_json", "contains"),
        ({"grammar": "root ::= x"}, "grammar", "'x'"),
        ({"guided_regex": "(a"}, "guided_regex", "unclosed"),
    ],
)
def test_a_bad_constraint_is_400_and_named(
    server: Home, fields: Any, param: str, complaint: str, *, stream: bool
) -> None:
    response = post(server, stream=stream, **fields)

    error = response.json()["error"]
    assert response.status_code == 400
    assert error["param"] == param
    assert complaint in error["message"]


def test_a_constraint_that_costs_too_much_ends_its_request_alone(server: Home) -> None:
    slow = post(server, grammar='start: start start start | "a" | ""', logit_bias={}, stream=False)
    after = post(server)

    assert slow.status_code in {200, 400}
    assert after.status_code == 200


def test_run_takes_a_schema_from_the_command_line(server: Home) -> None:
    done = server.run("run", "guide", "What is 2 + 2?", "--format", json.dumps(SCHEMA))

    assert is_shaped(done.stdout)
