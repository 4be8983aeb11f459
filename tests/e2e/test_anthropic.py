"""The server with the real model and Anthropic's own client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Home

anthropic: Any = pytest.importorskip("anthropic", reason="Anthropic's client is not installed")

HELLO: dict[str, Any] = {
    "model": "guide",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "What is 7 + 5?"}],
    "extra_body": {"temperature": 0},
}
WEATHER = {
    "name": "get_weather",
    "description": "Get the weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


@pytest.fixture(scope="module")
def client(server: Home) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=server.url, api_key="local", max_retries=0) as found:
        yield found


def test_it_chats_and_lists_models(client: Any) -> None:
    answer = client.messages.create(**HELLO)

    assert "12" in answer.content[0].text
    assert answer.stop_reason == "end_turn"
    assert answer._request_id
    assert [model.id for model in client.models.list()] == ["guide"]
    assert client.models.retrieve("guide").max_input_tokens > 0


def test_it_streams_what_it_would_get_as_a_whole(client: Any) -> None:
    whole = client.messages.create(**HELLO)
    with client.messages.stream(**HELLO) as stream:
        text = "".join(stream.text_stream)
        streamed = stream.get_final_message()

    assert text == whole.content[0].text
    assert streamed.content[0].text == text
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert streamed.usage.cache_read_input_tokens > 0


def test_it_counts_the_tokens_that_an_answer_reports(client: Any) -> None:
    asked = {"model": "guide", "system": "Be brief.", "messages": HELLO["messages"]}
    counted = client.messages.count_tokens(**asked, tools=[WEATHER]).input_tokens
    usage = client.messages.create(**asked, tools=[WEATHER], max_tokens=1).usage

    assert counted == usage.input_tokens + usage.cache_read_input_tokens


def test_it_calls_a_tool_and_uses_its_answer(client: Any) -> None:
    asked: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
    with client.messages.stream(**{**HELLO, "messages": asked}, tools=[WEATHER]) as stream:
        first = stream.get_final_message()
    (call,) = [block for block in first.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny, 21 degrees"}
    asked += [first.to_param(), {"role": "user", "content": [result]}]

    second = client.messages.create(**{**HELLO, "messages": asked}, tools=[WEATHER])

    assert first.stop_reason == "tool_use"
    assert (call.name, call.input) == ("get_weather", {"city": "Oslo"})
    assert "sunny, 21 degrees" in second.content[0].text


def test_it_is_told_which_stop_sequence_ended_the_answer(client: Any) -> None:
    answer = client.messages.create(**HELLO, stop_sequences=["nothing of this", "12"])

    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "12")
    assert "12" not in answer.content[0].text


def test_it_is_told_whether_its_limit_or_the_context_ended_the_answer(client: Any) -> None:
    endless = {**HELLO, "extra_body": {"temperature": 0, "ignore_eos": True}}

    assert client.messages.create(**{**endless, "max_tokens": 5}).stop_reason == "max_tokens"
    full = client.messages.create(**{**endless, "max_tokens": 20_000})
    assert full.stop_reason == "model_context_window_exceeded"


def test_it_gets_what_a_schema_describes(client: Any) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [42]}}, "required": ["n"]}
    form = {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}

    answer = client.messages.create(**HELLO, output_config={"format": form})

    assert answer.content[0].text.replace(" ", "") == '{"n":42}'


def test_it_sees_errors_as_its_own(client: Any) -> None:
    with pytest.raises(anthropic.NotFoundError, match="nosuch"):
        client.messages.create(**{**HELLO, "model": "nosuch"})
    long = [{"role": "user", "content": "word " * 4000}]
    with pytest.raises(
        anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > \d+ max"
    ):
        client.messages.create(**{**HELLO, "messages": long})
