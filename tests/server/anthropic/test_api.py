from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.chat.tool_calls import CallArguments, CallBegun
from localrun.server.anthropic.builder import MessageBuilder
from localrun.server.anthropic.request import parse_call
from localrun.server.parsing.fields import Fields
from tests.server.serving import serving

if TYPE_CHECKING:
    from tests.conftest import Golden
    from tests.server.serving import Served

HI = {"role": "user", "content": "hi"}
CALL = '<tool_call>{"name":"look","arguments":{"a":1}}</tool_call>'
LOOK = {"name": "look", "description": "Look", "input_schema": {"type": "object"}}
RANDOM = re.compile(r'"(msg_|toolu_)?[0-9a-f]{16,}"')


def ask(served: Served, content: Any, **fields: Any) -> httpx.Response:
    messages = [{"role": "user", "content": content}]
    body = {"model": "fake", "max_tokens": 50, "messages": messages, **fields}
    return httpx.post(f"{served.url}/v1/messages?beta=true", json=body)


def asked(served: Served, **fields: Any) -> dict[str, Any]:
    """Return the request as it reached the runner."""
    blocks = ask(served, "echo", **fields).json()["content"]  # some of it may be a thought
    request: dict[str, Any] = json.loads("".join(block[block["type"]] for block in blocks))
    return request


def transcript(text: str) -> str:
    """Return a stream without what is random, nor the signature, which is a hash."""
    return RANDOM.sub(lambda found: f'"{found[1] or ""}..."', text)


@pytest.mark.parametrize(
    ("name", "content", "fields"),
    [
        ("text", "say one two", {}),
        ("thinking", "say I see</think>\n\nIt is so", {"thinking": {"type": "adaptive"}}),
        ("tools", f"say {CALL}\n{CALL}", {"tools": [LOOK]}),
        ("error", "die", {}),
    ],
)
def test_a_stream_is_what_clients_expect(
    served: Served, golden: Golden, name: str, content: str, fields: dict[str, Any]
) -> None:
    response = ask(served, content, stream=True, **fields)

    assert response.headers["content-type"].startswith("text/event-stream")
    golden(f"anthropic/{name}.txt", transcript(response.text))


def test_a_whole_answer_has_the_blocks_of_the_stream(served: Served) -> None:
    answer = ask(
        served,
        f"say I see</think>\nNow {CALL}",
        thinking={"type": "enabled", "budget_tokens": 1024},
        tools=[LOOK],
    ).json()

    thought, text, call = answer["content"]
    assert (thought["type"], thought["thinking"]) == ("thinking", "I see")
    assert thought["signature"]
    assert text == {"type": "text", "text": "Now "}
    assert call["id"].startswith("toolu_")
    assert (call["type"], call["name"], call["input"]) == ("tool_use", "look", {"a": 1})
    assert (answer["type"], answer["role"], answer["model"]) == ("message", "assistant", "fake")
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("tool_use", None)
    assert answer["usage"] == {
        "input_tokens": 2,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 3,
        "output_tokens": 3,
    }


def test_a_thought_can_be_left_out_but_for_its_signature(served: Served) -> None:
    thinking = {"type": "adaptive", "display": "omitted"}

    for stream in (False, True):
        told = ask(served, "say secret</think>\nx", thinking=thinking, stream=stream).text
        assert "secret" not in told
        assert '"signature"' in told


def test_a_call_that_was_cut_is_in_a_whole_answer_with_what_is_complete(served: Served) -> None:
    answer = ask(served, f"say so {CALL[:42]}", tools=[LOOK]).json()

    text, call = answer["content"]
    assert (text["type"], call["type"], call["name"]) == ("text", "tool_use", LOOK["name"])
    assert isinstance(call["input"], dict)
    assert answer["stop_reason"] == "end_turn"


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], {}),
        (['{"a'], {}),
        (['{"a": {"b": [1,', ' 2], "c": "x'], {"a": {"b": [1, 2]}}),
        (["[1"], {}),
        (["{]"], {}),
    ],
)
def test_the_arguments_of_a_cut_call_are_those_that_are_complete(
    pieces: list[str], expected: dict[str, Any]
) -> None:
    answer = MessageBuilder(parse_call(Fields({"model": "m", "messages": [HI], "max_tokens": 1})))

    answer.events_of(CallBegun("look"))
    for piece in pieces:
        answer.events_of(CallArguments(piece, is_last=False))

    assert answer.message()["content"][0]["input"] == expected


def test_server_tools_are_left_out(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}

    with caplog.at_level("INFO"):
        request = asked(served, tools=[search, LOOK])

    assert [tool["function"]["name"] for tool in request["tools"]] == [LOOK["name"]]
    assert "web_search_20250305" in caplog.text


def test_a_request_reaches_the_runner_as_it_was_meant(served: Served) -> None:
    request = asked(
        served,
        tools=[LOOK],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        thinking={"type": "enabled", "budget_tokens": 2000},
        stop_sequences=["END"],
        temperature=0,
        top_p=0.5,
        top_k=3,
        output_config={
            "effort": "xhigh",
            "format": {"type": "json_schema", "schema": {"type": "object"}},
        },
        metadata={"user_id": "me"},
        service_tier="auto",
        context_management={"edits": []},
    )

    function = {"name": "look", "description": "Look", "parameters": {"type": "object"}}
    assert request["tools"] == [{"type": "function", "function": function}]
    assert request["template_options"] == {"enable_thinking": True, "reasoning_effort": "high"}
    assert {"temperature": 0, "top_p": 0.5, "top_k": 3}.items() <= request["sampling"].items()
    assert (request["num_predict"], request["stop"]) == (50, ["END"])
    assert request["constraint"]["kind"] == "json_schema"


def test_who_does_not_ask_for_thoughts_gets_none_and_no_tools_means_none(served: Served) -> None:
    request = asked(served, tools=[LOOK], tool_choice={"type": "none"}, stop_sequences=[])

    assert request["template_options"] == {"enable_thinking": False}
    assert (request["tools"], request["stop"]) == ([], [])


def test_tokens_are_counted_without_a_limit(served: Served) -> None:
    asked = {"role": "user", "content": "four"}
    body = {"model": "fake", "messages": [asked], "tools": [LOOK]}
    response = httpx.post(f"{served.url}/v1/messages/count_tokens", json=body)

    assert response.json() == {"input_tokens": 5}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"max_tokens": None}, "max_tokens is required"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"temperature": "hot"}, "temperature"),
        ({"system": 1}, "system"),
        ({"stop_sequences": ["x"] * 65}, "stop_sequences"),
        ({"tools": [{"type": "bash_20250124", "name": "w"}]}, "bash_20250124"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool", "name": "f"}, "tools": [LOOK]}, "tool_choice.name"),
        ({"thinking": {"type": "deep"}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": -1}}, "thinking.budget_tokens"),
        ({"output_config": {"effort": "none"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema"),
        ({"mcp_servers": [{"name": "m"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
    ],
)
def test_what_cannot_be_honoured_is_400_and_named(
    served: Served, fields: dict[str, Any], named: str
) -> None:
    response = ask(served, "say x", **fields)

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert named in response.json()["error"]["message"]


def test_errors_have_anthropics_shape_and_the_id_of_the_request(served: Served) -> None:
    for stream in (False, True):
        response = ask(served, "x", model="nosuch", stream=stream)
        body = response.json()
        assert response.status_code == 404
        assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
        assert body["request_id"] == response.headers["request-id"]
    unknown = httpx.get(f"{served.url}/v1/messages/batches")
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
    refused = httpx.post(f"{served.url}/v1/messages", headers={"Host": "evil.example"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "permission_error")


def test_a_model_that_does_not_load_is_an_api_error() -> None:
    with serving("broken.gguf") as broken:
        response = ask(broken, "say x", stream=True)

    assert (response.status_code, response.json()["error"]["type"]) == (500, "api_error")


def test_models_have_the_shape_of_who_asks(served: Served) -> None:
    def get(path: str) -> Any:
        headers = {"anthropic-version": "2023-06-01"}
        return httpx.get(f"{served.url}/v1/models{path}", headers=headers).json()

    page = get("?limit=20")

    assert page["data"] == [get("/fake")]
    assert page["data"][0]["type"] == "model"
    assert (page["has_more"], page["first_id"], page["last_id"]) == (False, "fake", "fake")
    assert get("?after_id=fake")["data"] == []
    assert get("?limit=none")["error"]["type"] == "invalid_request_error"
    assert get("/nosuch")["error"]["type"] == "not_found_error"
    assert "object" in httpx.get(f"{served.url}/v1/models").json()
