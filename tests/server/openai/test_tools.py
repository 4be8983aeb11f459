"""Calls and thoughts as clients ask for them, from the fields to the reply."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from localrun.errors import UsageError
from localrun.server.openai.tools import TOOLS, OfferedTools, offered_tools
from localrun.server.parsing.fields import Fields
from localrun.server.parsing.thinking import THINKING, Thinking, ollama_think, openai_thinking

if TYPE_CHECKING:
    from tests.server.serving import Served

F, G = ({"type": "function", "function": {"name": name}} for name in "fg")
CALL = '<tool_call>\n{"name":"f","arguments":{"a":1}}\n</tool_call>'


def post(served: Served, path: str, content: str, **fields: Any) -> Any:
    body = {"model": "fake", "messages": [{"role": "user", "content": content}], **fields}
    response = httpx.post(f"{served.url}{path}", json=body)
    return response.json() if response.status_code == 200 else response.json()["error"]


def message(served: Served, content: str, **fields: Any) -> Any:
    answer = post(served, "/v1/chat/completions", content, tools=[F, G], **fields)
    return answer["choices"][0]["message"]


def names(told: Any) -> list[str]:
    return [call["function"]["name"] for call in told.get("tool_calls", [])]


@pytest.mark.parametrize(
    ("choice", "offered"),
    [
        (None, OfferedTools((F, G))),
        ("none", OfferedTools((F, G), "none")),
        ("required", OfferedTools((F, G), "required")),
        ({"type": "function", "function": {"name": "g"}}, OfferedTools((F, G), "g")),
        ({"type": "function", "name": "g"}, OfferedTools((F, G), "g")),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [G]}},
            OfferedTools((G,), "required"),
        ),
        ({"type": "allowed_tools", "tools": [F]}, OfferedTools((F,), "auto")),
    ],
)
def test_every_form_of_tool_choice_is_read(choice: Any, offered: OfferedTools) -> None:
    assert offered_tools(TOOLS.read(Fields({"tools": [F, G], "tool_choice": choice}))) == offered


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [F], "tool_choice": "f"}, "tool_choice"),
        ({"tools": [F], "tool_choice": 1}, "tool_choice"),
        ({"tools": [F], "tool_choice": {"type": "custom"}}, "tool_choice.type"),
        ({"tools": [F], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice"),
        ({"tools": [F], "tool_choice": {"type": "function", "name": "none"}}, "tool_choice.name"),
        (
            {"tools": [F], "tool_choice": {"type": "allowed_tools", "mode": "x"}},
            "tool_choice.mode",
        ),
    ],
)
def test_what_cannot_be_chosen_is_refused_by_name(body: Any, param: str) -> None:
    with pytest.raises(UsageError) as caught:
        offered_tools(TOOLS.read(Fields(body)))

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("body", "thinking"),
    [
        ({}, Thinking()),
        (
            {"reasoning_effort": "low"},
            Thinking(options={"enable_thinking": True, "reasoning_effort": "low"}),
        ),
        (
            {"reasoning": {"effort": "none"}},
            Thinking(options={"enable_thinking": False, "reasoning_effort": "none"}),
        ),
        (
            {"reasoning": {"enabled": True, "max_tokens": 9}},
            Thinking(options={"enable_thinking": True}, budget=9),
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 7}},
            Thinking(options={"enable_thinking": True}, budget=7),
        ),
        (
            {"enable_thinking": False, "thinking_budget": 0},
            Thinking(options={"enable_thinking": False}, budget=0),
        ),
        (
            {"reasoning_effort": "high", "chat_template_kwargs": {"enable_thinking": False}},
            Thinking(options={"enable_thinking": False, "reasoning_effort": "high"}),
        ),
    ],
)
def test_thinking_is_asked_for_under_many_names(body: Any, thinking: Thinking) -> None:
    assert openai_thinking(THINKING.read(Fields(body))) == thinking


@pytest.mark.parametrize(
    ("think", "options"),
    [
        (None, {}),
        (False, {"enable_thinking": False}),
        (True, {"enable_thinking": True}),
        ("high", {"enable_thinking": True, "reasoning_effort": "high"}),
    ],
)
def test_ollamas_think_is_a_switch_or_a_level(think: Any, options: Any) -> None:
    assert ollama_think(Fields({"think": think}), "think") == options


@pytest.mark.parametrize(
    ("path", "fields", "name"),
    [
        ("/v1/chat/completions", {"reasoning_effort": "huge"}, "reasoning_effort"),
        ("/v1/chat/completions", {"thinking": {"type": "on"}}, "thinking.type"),
        ("/v1/chat/completions", {"chat_template_kwargs": []}, "chat_template_kwargs"),
        ("/api/chat", {"think": "much"}, "think"),
        ("/api/chat", {"think": 1}, "think"),
    ],
)
def test_a_wrong_field_is_named(served: Served, path: str, fields: Any, name: str) -> None:
    assert name in json.dumps(post(served, path, "say x", stream=False, **fields))


def test_the_runner_is_told_what_must_be_called_and_thought(served: Served) -> None:
    told = message(
        served,
        "echo",
        tool_choice={"type": "function", "function": {"name": "g"}},
        parallel_tool_calls=False,
        thinking_budget=5,
    )

    request = json.loads(told["content"])
    assert (request["tool_choice"], request["parallel_tool_calls"]) == ("g", False)
    assert (request["thinking_budget"], request["template_options"]) == (5, {})
    assert request["tools"] == [F, G]


def test_with_none_tools_are_not_shown_and_calls_are_text(served: Served) -> None:
    hidden = json.loads(message(served, "echo", tool_choice="none")["content"])
    told = message(served, f"say {CALL}", tool_choice="none")

    assert hidden["tools"] == []
    assert names(told) == []
    assert told["content"] == CALL


def test_without_parallel_calls_the_first_is_the_only_one(served: Served) -> None:
    other = CALL.replace('"f"', '"g"')
    two = f"say {CALL}\n{other}"

    assert names(message(served, two)) == ["f", "g"]
    assert names(message(served, two, parallel_tool_calls=False)) == ["f"]
