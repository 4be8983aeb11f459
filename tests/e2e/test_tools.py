"""Calls and thoughts by real clients on the real model."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import ollama
import openai

if TYPE_CHECKING:
    from tests.e2e.conftest import Home

MESSAGES: list[Any] = [{"role": "user", "content": "What is 2 + 2?"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 20}},
                "required": ["city"],
            },
        },
    }
    for name in ("weather", "flights")
]


def test_the_openai_client_gets_the_call_that_it_requires(server: Home) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="local", max_retries=0) as client:
        choice: Any = {"type": "function", "function": {"name": "flights"}}
        whole = client.chat.completions.create(
            model="guide", messages=MESSAGES, tools=TOOLS, tool_choice=choice
        )
        chunks = list(
            client.chat.completions.create(
                model="guide",
                messages=MESSAGES,
                tools=TOOLS,
                tool_choice="required",
                parallel_tool_calls=False,
                stream=True,
            )
        )

    (call,) = whole.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "flights"
    assert json.loads(call.function.arguments).keys() == {"city"}
    assert whole.choices[0].finish_reason == "tool_calls"
    deltas = [part for chunk in chunks for part in chunk.choices[0].delta.tool_calls or []]
    arguments = "".join(part.function.arguments or "" for part in deltas if part.function)
    assert {part.index for part in deltas} == {0}
    assert json.loads(arguments).keys() == {"city"}


def test_a_round_trip_of_a_call_ends_in_an_answer(server: Home) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="local", max_retries=0) as client:
        question: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
        asked = client.chat.completions.create(
            model="guide", messages=question, tools=TOOLS, temperature=0
        )
        message = asked.choices[0].message
        (call,) = message.tool_calls or []
        told: Any = message.model_dump(exclude_none=True)
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"}
        answered = client.chat.completions.create(
            model="guide",
            messages=[*question, told, result],
            tools=TOOLS,
            tool_choice="none",
            temperature=0,
        )

    assert answered.choices[0].message.content
    assert answered.choices[0].message.tool_calls is None


def test_thoughts_are_counted_and_kept_short(server: Home) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="local", max_retries=0) as client:
        counts = []
        for budget in (None, 4):
            answer = client.chat.completions.create(
                model="guide",
                messages=MESSAGES,
                temperature=0,
                extra_body={"enable_thinking": True, "thinking_budget": budget},
            )
            assert answer.usage
            assert answer.usage.completion_tokens_details
            counts.append(answer.usage.completion_tokens_details.reasoning_tokens or 0)
            assert (answer.choices[0].message.model_extra or {})["reasoning_content"]
        unthinking = client.chat.completions.create(
            model="guide", messages=MESSAGES, reasoning_effort="none"
        )

    assert counts[0] > counts[1] > 4
    assert unthinking.usage
    assert unthinking.usage.completion_tokens_details
    assert unthinking.usage.completion_tokens_details.reasoning_tokens == 0


def test_ollamas_client_asks_for_levels(server: Home) -> None:
    with contextlib.closing(ollama.Client(host=server.url)) as client:
        low = client.chat("guide", MESSAGES, think="low", options={"temperature": 0})
        off = client.chat("guide", MESSAGES, think=False, options={"temperature": 0})

    assert low.message.thinking
    assert not off.message.thinking
