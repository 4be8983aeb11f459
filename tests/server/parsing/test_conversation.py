from __future__ import annotations

from typing import Any

import pytest

from localrun.errors import UsageError
from localrun.server.parsing.conversation import conversation


def test_parts_of_text_become_one_text_and_null_none() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]

    assert conversation([{"role": "user", "content": parts}])[0]["content"] == "a\nb"
    assert conversation([{"role": "assistant", "content": None}])[0]["content"] == ""


def test_roles_of_other_times_are_todays() -> None:
    roles = [{"role": role, "content": ""} for role in ("developer", "function")]

    assert [message["role"] for message in conversation(roles)] == ["system", "tool"]


@pytest.mark.parametrize("arguments", ['{"city": "Oslo"}', {"city": "Oslo"}])
def test_arguments_of_calls_become_objects(arguments: object) -> None:
    call = {"id": "c1", "function": {"name": "weather", "arguments": arguments}}

    (message,) = conversation([{"role": "assistant", "tool_calls": [call]}])

    assert message["tool_calls"] == [
        {
            "type": "function",
            "id": "c1",
            "function": {"name": "weather", "arguments": {"city": "Oslo"}},
        }
    ]


@pytest.mark.parametrize("text", ['{"city": "Os', "[1]", "3", "x"])
def test_arguments_that_were_cut_off_are_told_as_they_are(text: str) -> None:
    call = {"function": {"name": "weather", "arguments": text}}

    (message,) = conversation([{"role": "assistant", "tool_calls": [call]}])

    (told,) = message["tool_calls"]
    assert told["function"]["arguments"] == {"arguments": text}


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({"role": "king"}, "messages[0].role"),
        ({"role": ["user"]}, "messages[0].role"),
        ({}, "messages[0].role"),
        ({"role": "user", "content": 3}, "messages[0].content"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0].image_url"),
        ({"role": "user", "content": [{"type": []}]}, "messages[0].content[0].type"),
        ({"role": "user", "images": ["?"]}, "messages[0].images[0]"),
        ({"role": "assistant", "tool_calls": 3}, "messages[0].tool_calls"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "messages[0].tool_calls"),
    ],
)
def test_a_malformed_message_is_refused_by_name(message: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        conversation([message])

    assert caught.value.param == named
