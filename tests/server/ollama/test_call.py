"""What ``/api/generate`` makes of raw, suffix, context, template and think."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.server.ollama.call import parse_call
from localrun.server.parsing.fields import Fields

if TYPE_CHECKING:
    from tests.server.serving import Served


def generate(served: Served, prompt: str = "echo", **fields: Any) -> httpx.Response:
    body = {"model": "fake", "prompt": prompt, "stream": False, **fields}
    return httpx.post(f"{served.url}/api/generate", json=body)


def asked(served: Served, **fields: Any) -> Any:
    """Return the request that reached the runner."""
    return json.loads(generate(served, **fields).json()["response"])


def test_a_prompt_is_a_question_after_the_system(served: Served) -> None:
    messages = asked(served, system="be brief")["messages"]

    assert [(one["role"], one["content"]) for one in messages] == [
        ("system", "be brief"),
        ("user", "echo"),
    ]


def test_raw_and_suffix_are_no_conversation_and_tell_no_context(served: Served) -> None:
    raw, gap = generate(served, raw=True), generate(served, suffix="after", system="unused")

    assert json.loads(raw.json()["response"])["text"] == "echo"
    assert json.loads(gap.json()["response"])["suffix"] == "after"
    for answer in (raw.json(), gap.json()):
        assert json.loads(answer["response"])["messages"] is None
        assert "context" not in answer


def test_a_context_is_told_and_taken_back(served: Served) -> None:
    first = generate(served, "say hi").json()
    again = asked(served, context=first["context"])

    assert first["context"] == [1, 2, 3]
    assert again["context"] == [1, 2, 3]


def test_a_stream_tells_the_context_at_its_end(served: Served) -> None:
    frames = [
        json.loads(line) for line in generate(served, "say a b", stream=True).text.splitlines()
    ]

    assert [frame.get("context") for frame in frames] == [None, None, [1, 2, 3]]


def test_a_template_of_the_request_is_used_in_either_language(served: Served) -> None:
    jinja = asked(served, template="{{ messages[0].content }}")["chat_template"]
    go = asked(served, template="{{ .System }}{{ .Prompt }}")["chat_template"]

    assert jinja == "{{ messages[0].content }}"
    assert "go_turns" in go


@pytest.mark.parametrize(
    ("think", "options"),
    [
        (None, {}),
        (False, {"enable_thinking": False}),
        ("low", {"enable_thinking": True, "reasoning_effort": "low"}),
        ("max", {"enable_thinking": True, "reasoning_effort": "max"}),
    ],
)
def test_think_is_a_switch_or_a_level(think: Any, options: Any) -> None:
    call = parse_call(Fields({"model": "fake", "prompt": "x", "think": think}), "generate")

    assert call.request.generation.prompt.template_options == options


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"images": ["?"]}, "images[0]"),
        ({"context": "1 2"}, "context"),
        ({"context": [1, -1]}, "context"),
        ({"context": [True]}, "context"),
        ({"raw": True, "system": "x"}, "system"),
        ({"raw": True, "context": [1]}, "context"),
        ({"suffix": 3}, "suffix"),
        ({"think": "deep"}, "think"),
        ({"think": 1.5}, "think"),
    ],
)
def test_what_cannot_be_honoured_is_400_and_named(
    served: Served, fields: dict[str, Any], named: str
) -> None:
    response = generate(served, **fields)

    assert response.status_code == 400
    assert response.json()["error"].startswith(named + " ")
