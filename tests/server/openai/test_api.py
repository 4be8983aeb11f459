from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.server.serving import Served


def chat(served: Served, content: Any, **fields: Any) -> httpx.Response:
    body = {"model": "fake", "messages": [{"role": "user", "content": content}], **fields}
    return httpx.post(f"{served.url}/v1/chat/completions", json=body)


def events(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_the_whole_answer_has_openais_shape(served: Served) -> None:
    answer = chat(served, [{"type": "text", "text": "say one two"}]).json()

    assert answer["object"] == "chat.completion"
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "one two", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert answer["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def test_a_stream_begins_with_the_role_and_ends_with_reason_and_usage(served: Served) -> None:
    found = events(chat(served, "say a b", stream=True, stream_options={"include_usage": True}))

    deltas = [event["choices"][0]["delta"] for event in found[:-1]]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "a"}, {"content": " b"}, {}]
    assert found[-2]["choices"][0]["finish_reason"] == "stop"
    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["total_tokens"] == 7
    assert len({event["id"] for event in found}) == 1
    assert found[-2]["timings"]["predicted_n"] == 2
    assert len({tuple(event) for event in found[:-2]}) == 1  # one shape, also of the quick ones
    assert len({tuple(event["choices"][0]) for event in found[:-1]}) == 1


def test_tool_calls_have_ids_and_json_arguments(served: Served) -> None:
    call = '<tool_call>{"name":"t","arguments":{"a":1}}</tool_call>'

    (choice,) = chat(served, f"say {call}{call}").json()["choices"]

    calls = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert [c["function"] for c in calls] == [{"name": "t", "arguments": '{"a": 1}'}] * 2
    assert calls[0]["id"] != calls[1]["id"]


def test_an_error_in_the_middle_is_an_event_and_the_stream_ends_properly(served: Served) -> None:
    found = events(chat(served, "die", stream=True))

    assert found[-1]["error"]["code"] == "runner_died"


def test_a_prompt_that_does_not_fit_is_400_with_openais_code(served: Served) -> None:
    response = chat(served, "fail")

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


def test_an_unknown_model_is_404(served: Served) -> None:
    for stream in (False, True):
        response = chat(served, "x", model="nosuch", stream=stream)
        assert response.status_code == 404
        assert response.json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": 65}, "n"),
        ({"logprobs": "yes"}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"overflow": "explode"}, "overflow"),
        ({"num_keep": -2}, "num_keep"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"presence_penalty": "much"}, "presence_penalty"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": True}, "temperature"),
        ({"messages": []}, "messages"),
        ({"model": None}, "model"),
        ({"stop": [1]}, "stop"),
        ({"logit_bias": {"word": 1}}, "logit_bias.word"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5"),
        ({"logit_bias": [[5, 1]]}, "logit_bias"),
    ],
)
def test_what_cannot_be_honoured_is_400_and_named(
    served: Served, fields: dict[str, Any], param: str
) -> None:
    response = chat(served, "say x", **fields)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_neutral_and_unknown_fields_pass(served: Served) -> None:
    response = chat(served, "say x", n=1, logprobs=False, user="me", tool_choice="auto", seed=None)

    assert response.status_code == 200


def test_models_are_listed_and_found(served: Served) -> None:
    (model,) = httpx.get(f"{served.url}/v1/models").json()["data"]

    assert model["id"] == "fake"
    assert httpx.get(f"{served.url}/v1/models/fake").json() == model
    assert httpx.get(f"{served.url}/v1/models/a/b").status_code == 404


def test_an_unknown_route_has_the_apis_error_shape(served: Served) -> None:
    assert httpx.get(f"{served.url}/v1/nosuch").json()["error"]["type"] == "not_found_error"
    assert "nosuch" in httpx.get(f"{served.url}/api/nosuch").json()["error"]
