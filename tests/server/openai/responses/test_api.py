from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.server.serving import serving
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.conftest import Golden
    from tests.server.serving import Served

CALL = '<tool_call>{"name":"look","arguments":{"a":1}}</tool_call>'
PATCH = '<tool_call>{"name":"patch","arguments":{"input":"*** Begin"}}</tool_call>'
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
RANDOM = re.compile(r'"([a-z]+_)[0-9a-f]{16,}"')
TIMES = re.compile(r'("(?:created|completed)_at": )\d+')


def ask(served: Served, given: Any, **fields: Any) -> httpx.Response:
    body = {"model": "fake", "input": given, **fields}
    return httpx.post(f"{served.url}/v1/responses", json=body)


def asked(served: Served, given: Any = "echo", **fields: Any) -> dict[str, Any]:
    """Return the request as it reached the runner."""
    item = ask(served, given, **fields).json()["output"][-1]
    request: dict[str, Any] = json.loads(item["content"][0]["text"])
    return request


def get(served: Served, path: str) -> httpx.Response:
    return httpx.get(f"{served.url}/v1/responses/{path}")


def post(served: Served, path: str) -> httpx.Response:
    return httpx.post(f"{served.url}/v1/responses/{path}")


def events(response: httpx.Response) -> list[Any]:
    return [json.loads(found) for found in re.findall(r"^data: (.*)$", response.text, re.MULTILINE)]


def transcript(text: str) -> str:
    """Return a stream without what is random."""
    return TIMES.sub(r"\g<1>0", RANDOM.sub(r'"\1..."', text))


STREAMS: list[tuple[str, str, dict[str, Any]]] = [
    ("text", "say one two", {}),
    ("thinking", "say I see</think>\n\nIt is so", {"reasoning": {"effort": "low"}}),
    (
        "summary",
        "say I see</think>\n\nIt is so",
        {
            "reasoning": {"effort": "low", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
            "store": False,
        },
    ),
    ("tools", f"say {CALL}\n{CALL}", {"tools": [LOOK]}),
    ("custom", f"say {PATCH}", {"tools": [{"type": "custom", "name": "patch"}]}),
    ("error", "die", {}),
]


@pytest.mark.parametrize(("name", "given", "fields"), STREAMS)
def test_a_stream_is_what_clients_expect(
    served: Served, golden: Golden, name: str, given: str, fields: dict[str, Any]
) -> None:
    response = ask(served, given, stream=True, **fields)

    assert response.headers["content-type"].startswith("text/event-stream")
    golden(f"responses/{name}.txt", transcript(response.text))


def test_a_whole_answer_is_that_of_the_stream(served: Served) -> None:
    given, fields = (
        f"say I see</think>\nNow {CALL}",
        {"tools": [LOOK], "reasoning": {"effort": "low"}},
    )
    whole = ask(served, given, **fields)
    last = events(ask(served, given, stream=True, **fields))[-1]

    assert transcript(json.dumps(whole.json())) == transcript(json.dumps(last["response"]))
    assert [item["type"] for item in whole.json()["output"]] == [
        "reasoning",
        "message",
        "function_call",
    ]
    assert whole.json()["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 8,
    }


def test_a_request_reaches_the_runner_as_it_was_meant(served: Served) -> None:
    request = asked(
        served,
        instructions="Be brief.",
        tools=[LOOK, {"type": "web_search"}],
        tool_choice={"type": "function", "name": "look"},
        parallel_tool_calls=False,
        max_output_tokens=50,
        temperature=0,
        top_p=0.5,
        top_k=3,
        top_logprobs=2,
        truncation="auto",
        text={"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}},
        prompt_cache_key="k",
        service_tier="flex",
        user="me",
        stream_options={"include_obfuscation": False},
        client_metadata={"thread_id": "t"},
    )

    assert request["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "echo"},
    ]
    function = {"name": "look", "parameters": {"type": "object"}}
    assert request["tools"] == [{"type": "function", "function": function}]
    assert (request["tool_choice"], request["parallel_tool_calls"]) == ("look", False)
    assert {"temperature": 0, "top_p": 0.5, "top_k": 3}.items() <= request["sampling"].items()
    assert (request["num_predict"], request["logprobs"]) == (50, 2)
    assert request["overflow"]["drops"]
    assert request["constraint"]["kind"] == "json_schema"


def test_a_response_repeats_its_request_with_what_was_used(served: Served) -> None:
    schema = {"type": "json_schema", "name": "x", "schema": {"type": "object"}}
    fields = {
        "instructions": "Be brief.",
        "metadata": {"a": "b"},
        "text": {"format": schema},
        "tool_choice": "none",
        "prompt_cache_key": "k",
        "top_p": 0.5,
    }

    response = ask(served, "say x", **fields).json()

    assert fields | response | {"text": None} == response | {"text": None}
    assert response["text"]["format"] == {**schema, "description": None, "strict": False}
    assert response["temperature"] == 0.8  # the server's own


def test_thinking_can_be_asked_for(served: Served) -> None:
    def options(effort: str) -> Any:
        return asked(served, reasoning={"effort": effort})["template_options"]

    assert options("none") == {"enable_thinking": False, "reasoning_effort": "none"}
    assert asked(served)["template_options"] == {}


def test_a_conversation_goes_on_from_what_is_kept(served: Served) -> None:
    first = ask(served, f"say so {CALL}", tools=[LOOK]).json()
    call = first["output"][1]
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "echo"}

    by_id = asked(served, [output], previous_response_id=first["id"])["messages"]
    references = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
    by_reference = asked(served, [{"role": "user", "content": "go"}, *references, output])
    by_items = asked(served, [{"role": "user", "content": "go"}, *first["output"], output])

    assert [message["role"] for message in by_id] == ["user", "assistant", "tool"]
    assert by_id[1]["tool_calls"][0]["function"] == {"name": "look", "arguments": {"a": 1}}
    assert by_id[1:] == by_reference["messages"][1:] == by_items["messages"][1:]


def test_what_is_kept_can_be_read_and_deleted(served: Served) -> None:
    given = [{"role": "user", "content": "a"}, {"role": "user", "content": "say x"}]
    response = ask(served, given).json()
    number = response["id"]

    assert get(served, number).json() == response
    page = get(served, f"{number}/input_items").json()
    assert [item["content"][0]["text"] for item in page["data"]] == ["say x", "a"]
    rest = get(served, f"{number}/input_items?limit=1&after={page['first_id']}").json()
    assert (rest["data"], rest["has_more"]) == ([page["data"][1]], False)
    ordered = get(served, f"{number}/input_items?order=asc&limit=1").json()
    assert (ordered["data"], ordered["has_more"]) == ([page["data"][1]], True)
    deleted = httpx.delete(f"{served.url}/v1/responses/{number}").json()
    assert deleted == {"id": number, "object": "response", "deleted": True}
    assert get(served, number).status_code == 404
    assert get(served, f"{number}/input_items").status_code == 404
    follow = ask(served, "x", previous_response_id=number)
    assert (follow.status_code, follow.json()["error"]["param"]) == (400, "previous_response_id")


def test_what_is_not_to_be_kept_or_was_refused_is_not(served: Served) -> None:
    response = ask(served, "say x", store=False).json()

    assert not response["store"]
    assert get(served, response["id"]).status_code == 404
    assert ask(served, "fail").json()["error"]["code"] == "context_length_exceeded"


def test_a_response_comes_in_the_background_and_can_be_cancelled(served: Served) -> None:
    number = ask(served, "hang", background=True).json()["id"]
    wait_for(served, number, "in_progress")

    cancelled = post(served, f"{number}/cancel").json()

    assert cancelled["status"] == "cancelled"
    assert cancelled["output"][0]["content"][0]["text"] == "..."
    assert get(served, number).json() == cancelled
    again = post(served, f"{number}/cancel")
    assert (again.status_code, "it is cancelled" in again.text) == (400, True)
    assert post(served, "resp_none/cancel").status_code == 404


def test_what_happens_in_the_background_can_be_read_later(served: Served) -> None:
    done = wait_for(served, ask(served, "say x", background=True).json()["id"], "completed")
    failed = wait_for(served, ask(served, "fail", background=True).json()["id"], "failed")

    assert done["output"][0]["content"][0]["text"] == "x"
    assert failed["error"]["code"] == "context_length_exceeded"
    number = ask(served, "quiet", background=True).json()["id"]
    assert httpx.delete(f"{served.url}/v1/responses/{number}").status_code == 200
    assert get(served, number).status_code == 404


def test_a_stream_can_be_cancelled_by_its_id_and_ends_properly(served: Served) -> None:
    body = {"model": "fake", "input": "hang", "stream": True}
    found = []
    with httpx.stream("POST", f"{served.url}/v1/responses", json=body) as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: ")))
                if found[-1]["type"] == "response.output_text.delta":
                    post(served, f"{found[0]['response']['id']}/cancel")

    assert found[-1]["type"] == "response.incomplete"
    assert found[-1]["response"]["status"] == "cancelled"


def test_tokens_of_the_input_are_counted(served: Served) -> None:
    body = {"model": "fake", "input": "four", "tools": [LOOK]}
    counted = httpx.post(f"{served.url}/v1/responses/input_tokens", json=body)

    assert counted.json() == {"object": "response.input_tokens", "input_tokens": 5}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"given": None}, "input"),
        ({"given": 1}, "input"),
        ({"given": [{"type": "item_reference", "id": "x"}]}, "input[0].id"),
        ({"previous_response_id": "resp_none"}, "previous_response_id"),
        ({"conversation": "c"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"background": True, "stream": True}, "background"),
        ({"background": True, "store": False}, "background"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"include": ["everything"]}, "include"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"truncation": "some"}, "truncation"),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
        ({"reasoning": {"effort": "most"}}, "reasoning.effort"),
        ({"text": {"verbosity": "mute"}}, "text.verbosity"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_object"}}, "grammar": 'root ::= "x"'}, "grammar"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"tools": [{"type": "mcp"}]}, "tools[0].type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"stream_options": {"include_obfuscation": 1}}, "stream_options.include_obfuscation"),
    ],
)
def test_what_cannot_be_honoured_is_400_and_named(
    served: Served, fields: dict[str, Any], param: str
) -> None:
    response = ask(served, **{"given": "say x"} | fields)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "order=up", "after=none"])
def test_a_page_that_cannot_be_is_400(served: Served, query: str) -> None:
    number = ask(served, "say x").json()["id"]

    assert get(served, f"{number}/input_items?{query}").status_code == 400
    assert get(served, f"{number}?stream=true").status_code == 400


def test_errors_before_the_stream_have_a_status(served: Served) -> None:
    for stream in (False, True):
        assert ask(served, "x", model="nosuch", stream=stream).status_code == 404
        assert ask(served, "fail", stream=stream).status_code == 400
    assert ask(served, "die").status_code == 500
    with serving("broken.gguf") as broken:
        assert ask(broken, "say x", stream=True).status_code == 500


def wait_for(served: Served, number: str, status: str) -> dict[str, Any]:
    response: dict[str, Any] = {}

    def has_come_so_far() -> bool:
        response.update(get(served, number).json())
        return response["status"] == status and (status != "in_progress" or response["output"])

    wait_until(has_come_so_far)
    return response
