from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.server.serving import Served, serving


def chat(served: Served, content: str, **fields: Any) -> httpx.Response:
    body = {"model": "fake", "messages": [{"role": "user", "content": content}], **fields}
    # curl -d sends JSON under the content type of a form
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return httpx.post(f"{served.url}/api/chat", content=json.dumps(body), headers=headers)


def test_a_stream_is_one_object_a_line_and_ends_with_the_figures(served: Served) -> None:
    frames = [json.loads(line) for line in chat(served, "say one two").text.splitlines()]

    assert [frame["message"]["content"] for frame in frames] == ["one", " two", ""]
    assert [frame["done"] for frame in frames] == [False, False, True]
    end = frames[-1]
    assert (end["done_reason"], end["prompt_eval_count"], end["eval_count"]) == ("stop", 5, 2)
    assert all(
        isinstance(end[f"{n}_duration"], int) for n in ("total", "load", "prompt_eval", "eval")
    )


def test_the_whole_answer_is_one_object(served: Served) -> None:
    answer = chat(served, "say one two", stream=False).json()

    assert answer["message"] == {"role": "assistant", "content": "one two"}
    assert answer["done"] is True


def test_thoughts_and_tool_calls_stand_apart(served: Served) -> None:
    call = '<tool_call>{"name":"t","arguments":{"a":1}}</tool_call>'
    message = chat(served, f"say <think>hm</think>yes{call}", stream=False).json()["message"]

    (called,) = message.pop("tool_calls")
    assert message == {"role": "assistant", "content": "yes", "thinking": "hm"}
    assert called.pop("id").startswith("call_")
    assert called == {"function": {"index": 0, "name": "t", "arguments": {"a": 1}}}


def test_generate_answers_a_prompt(served: Served) -> None:
    answer = httpx.post(
        f"{served.url}/api/generate", json={"model": "fake", "prompt": "say x", "stream": False}
    ).json()

    assert (answer["response"], answer["done_reason"]) == ("x", "stop")


def test_an_empty_request_loads_and_keep_alive_zero_unloads(served: Served) -> None:
    def send(**fields: Any) -> Any:
        return httpx.post(f"{served.url}/api/generate", json={"model": "fake", **fields}).json()

    loaded, rows = send(), httpx.get(f"{served.url}/api/ps").json()["models"]
    unloaded = send(keep_alive=0)

    assert (loaded["done_reason"], unloaded["done_reason"]) == ("load", "unload")
    assert [row["name"] for row in rows] == ["fake:latest"]
    assert httpx.get(f"{served.url}/api/ps").json() == {"models": []}


def test_death_in_the_middle_of_a_stream_is_its_last_line(served: Served) -> None:
    frames = [json.loads(line) for line in chat(served, "die").text.splitlines()]

    assert frames[0]["message"]["content"] == "half"
    assert frames[-1]["code"] == "runner_died"
    assert chat(served, "say back", stream=False).json()["message"]["content"] == "back"


def test_an_unknown_model_is_404_also_for_a_stream(served: Served) -> None:
    response = chat(served, "x", model="nosuch")

    assert response.status_code == 404
    assert response.json() == {
        "error": "model 'nosuch' is not on this machine (localrun list)",
        "code": "model_not_found",
        "hint": "localrun list",
    }


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": "x", "images": ["?"]}]},
            "messages[0].images[0]",
        ),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": {"top_p": 2}}, "options.top_p"),
        ({"options": 3}, "options"),
        ({"stream": "yes"}, "stream"),
        ({"keep_alive": "soon"}, "keep_alive"),
        ({"format": ["json"]}, "format"),
    ],
)
def test_a_wrong_field_is_400_and_named(served: Served, fields: dict[str, Any], named: str) -> None:
    response = chat(served, "x", **fields)

    assert response.status_code == 400
    assert response.json()["error"].startswith(named + " ")


def test_null_and_legacy_fields_pass(served: Served) -> None:
    options = {"temperature": None, "mirostat": 0, "tfs_z": None, "num_ctx": None}

    response = chat(
        served, "say x", options=options, tools=[], format=None, think=None, stream=False
    )

    assert response.json()["message"]["content"] == "x"


def test_what_is_no_json_is_400(served: Served) -> None:
    for body in (b"", b"{", b"[1]", b"[" * 100_000):
        assert httpx.post(f"{served.url}/api/chat", content=body).status_code == 400


def test_tags_and_version_are_ollamas(served: Served) -> None:
    (tag,) = httpx.get(f"{served.url}/api/tags").json()["models"]

    assert tag["name"] == "fake:latest"
    assert tag["details"]["quantization_level"] == "Q8_0"
    told = httpx.get(f"{served.url}/api/version").json()
    assert set(told) == {"version", "localrun", "pid", "device"}
    assert httpx.head(f"{served.url}/").status_code == 200


def test_nobody_is_signed_in_and_there_is_no_cloud(served: Served) -> None:
    status = httpx.get(f"{served.url}/api/status")
    me, sign_out = (httpx.post(f"{served.url}/api/{path}") for path in ("me", "signout"))

    assert status.json() == {"cloud": {"disabled": True, "source": "config"}}
    assert (me.status_code, me.json()["error"]) == (401, "unauthorized")
    assert (sign_out.status_code, sign_out.json()["error"]) == (
        401,
        "you are not currently signed in",
    )


def test_calls_of_a_stream_are_numbered_across_its_frames(served: Served) -> None:
    call = '<tool_call>{"name":"t","arguments":{"a":1}}</tool_call>'
    lines = chat(served, f"say {call}{call}").text.splitlines()

    calls = [c for line in lines for c in json.loads(line)["message"].get("tool_calls", [])]
    assert [one["function"]["index"] for one in calls] == [0, 1]


def test_old_messages_go_unless_a_request_says_otherwise(served: Served) -> None:
    def policy(**fields: Any) -> Any:
        frame = chat(served, "echo", stream=False, **fields).json()
        return json.loads(frame["message"]["content"])["overflow"]

    assert (policy()["drops"], policy()["shifts"]) == (True, True)
    assert (policy(truncate=False)["drops"], policy(truncate=False)["shifts"]) == (False, True)
    strict = policy(options={"overflow": "error"})
    assert (strict["drops"], strict["shifts"]) == (False, False)


def test_a_loaded_model_took_some_time_to_find(served: Served) -> None:
    for _ in range(2):
        assert chat(served, "say x", stream=False).json()["load_duration"] > 0


def test_a_prompt_can_be_seen_without_an_answer(served: Served) -> None:
    frame = chat(served, "say x", _debug_render_only=True).json()

    assert frame["_debug_info"] == {"rendered_template": "say x"}
    assert frame["message"]["content"] == ""


def test_the_list_says_what_models_can_do(served: Served) -> None:
    (model,) = httpx.get(f"{served.url}/api/tags").json()["models"][:1]

    assert isinstance(model["capabilities"], list)
    assert model["details"]["context_length"] > 0


def test_nothing_loaded_needs_no_list_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.server.serving.FakeCatalogue.list_models", pytest.fail)

    with serving() as fresh:
        assert httpx.get(f"{fresh.url}/api/ps").json() == {"models": []}
