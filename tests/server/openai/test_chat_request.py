"""The fields of ``/v1/chat/completions`` beside the messages: honoured, or refused by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from localrun.server.openai.chat_request import parse_chat
from localrun.server.parsing.fields import Fields
from tests.server.openai.test_api import chat, events

if TYPE_CHECKING:
    from tests.server.serving import Served

FUNCTION = {"name": "t", "parameters": {"type": "object"}}
CALL = '<tool_call>{"name":"t","arguments":{"a":1}}</tool_call>'


def asked(served: Served, **fields: Any) -> Any:
    """Return the request that reached the runner."""
    message = chat(served, "echo", **fields).json()["choices"][0]["message"]
    return json.loads(message["content"])


def test_fields_that_change_nothing_pass(served: Served) -> None:
    response = chat(
        served,
        "say x",
        store=True,
        metadata={"a": "b"},
        service_tier="flex",
        user="me",
        safety_identifier="x",
        prompt_cache_key="k",
        modalities=["text"],
        stream_options={"include_obfuscation": False},
        cache_prompt=False,
        timings_per_token=True,
        id_slot=-1,
    )

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"verbosity": "wordy"}, "verbosity"),
        ({"best_of": 2}, "best_of"),
        ({"dry_sequence_breakers": ["x"] * 33}, "dry_sequence_breakers"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"functions": [FUNCTION], "tools": [{"type": "function"}]}, "functions"),
        ({"functions": "x"}, "functions"),
        ({"chat_template": 1}, "chat_template"),
        ({"prediction": "x"}, "prediction"),
        ({"reasoning_format": "deepseek-legacy"}, "reasoning_format"),
        ({"prediction": {"type": "image"}}, "prediction.type"),
        ({"prediction": {"content": [{"type": "text"}]}}, "prediction.content"),
    ],
)
def test_what_cannot_be_honoured_is_400_and_named(
    served: Served, fields: dict[str, Any], param: str
) -> None:
    response = chat(served, "say x", **fields)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("name", ["max_completion_tokens", "max_tokens", "n_predict"])
def test_a_length_has_many_names_and_minus_one_is_none(served: Served, name: str) -> None:
    assert asked(served, **{name: 9})["num_predict"] == 9
    assert asked(served, **{name: -1})["num_predict"] is None


def test_effort_and_verbosity_are_for_the_template() -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "x"}]}
    call = parse_chat(Fields({**body, "reasoning": {"effort": "low"}, "verbosity": "low"}))

    assert call.request.generation.prompt.template_options == {
        "enable_thinking": True,
        "reasoning_effort": "low",
        "verbosity": "low",
    }


@pytest.mark.parametrize(
    ("form", "keeps"), [("none", True), ("auto", False), ("deepseek", False), (None, False)]
)
def test_a_reasoning_format_of_none_leaves_thoughts_in_the_text(
    form: str | None,
    keeps: bool,  # noqa: FBT001 - a case of the table
) -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "x"}]}

    assert parse_chat(Fields({**body, "reasoning_format": form})).request.keeps_thoughts is keeps


def test_thoughts_are_text_for_a_client_that_wants_them_so(served: Served) -> None:
    question, thought = "say <think>hm</think>yes", {"reasoning_format": "none"}

    apart = chat(served, question).json()["choices"][0]["message"]
    together = chat(served, question, **thought).json()["choices"][0]["message"]

    assert (apart["reasoning_content"], apart["content"]) == ("hm", "yes")
    assert (together.get("reasoning_content"), together["content"]) == (
        None,
        "<think>hm</think>yes",
    )


@pytest.mark.parametrize("content", ["ab", [{"type": "text", "text": p} for p in "ab"]])
def test_a_prediction_is_for_the_guesses(served: Served, content: Any) -> None:
    prediction = {"type": "content", "content": content}

    assert asked(served, prediction=prediction)["prediction"] == "ab"


def test_a_template_of_the_request_is_used(served: Served) -> None:
    assert asked(served, chat_template="{{ 1 }}")["chat_template"] == "{{ 1 }}"


def test_server_tools_are_left_out_of_the_tools(served: Served) -> None:
    function = {"type": "function", "function": FUNCTION}

    assert asked(served, tools=[{"type": "web_search_preview"}, function])["tools"] == [function]


def test_the_highest_effort_has_other_names() -> None:
    body = {"model": "fake", "messages": [{"role": "user", "content": "x"}]}

    call = parse_chat(Fields({**body, "reasoning_effort": "ultra"}))

    assert call.request.generation.prompt.template_options["reasoning_effort"] == "max"


def test_functions_are_tools_in_old_words(served: Served) -> None:
    fields = {"functions": [FUNCTION], "function_call": "auto"}

    assert asked(served, **fields)["tools"] == [{"type": "function", "function": FUNCTION}]
    assert asked(served, functions=[FUNCTION], function_call="none")["tools"] == []
    assert asked(served, functions=[FUNCTION], function_call={"name": "t"})["tool_choice"] == "t"
    (choice,) = chat(served, f"say {CALL}", **fields).json()["choices"]
    assert choice["finish_reason"] == "function_call"
    call = choice["message"]["function_call"]
    assert (call["name"], json.loads(call["arguments"])) == ("t", {"a": 1})
    assert "tool_calls" not in choice["message"]


def test_a_streamed_function_call_has_its_name_and_then_its_arguments(served: Served) -> None:
    found = events(chat(served, f"say {CALL}", functions=[FUNCTION], stream=True))

    deltas = [event["choices"][0]["delta"].get("function_call") for event in found]
    calls = [delta for delta in deltas if delta]
    assert calls[0]["name"] == "t"
    assert json.loads("".join(call["arguments"] for call in calls)) == {"a": 1}
    assert found[-1]["choices"][0]["finish_reason"] == "function_call"


def test_calls_and_results_of_functions_in_earlier_messages_are_read(served: Served) -> None:
    messages = [
        {"role": "assistant", "function_call": {"name": "t", "arguments": '{"a": 1}'}},
        {"role": "function", "name": "t", "content": "2"},
        {"role": "user", "content": "echo"},
    ]

    told = asked(served, messages=messages)["messages"]

    assert told[0]["tool_calls"][0]["function"] == {"name": "t", "arguments": {"a": 1}}
    assert (told[1]["role"], told[1]["name"]) == ("tool", "t")
