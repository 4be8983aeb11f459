from __future__ import annotations

from typing import Any

import pytest

from localrun.errors import UsageError
from localrun.server.openai.responses.items import conversation, sealed, whole_item
from localrun.server.parsing.fields import Fields


def item(**fields: Any) -> Fields:
    return Fields(fields, "input[0].")


def call(**fields: Any) -> Fields:
    stated = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"a": 1}'}
    return item(**stated | fields)


def told(*items: Fields) -> list[dict[str, Any]]:
    return list(conversation(None, list(items)))


def test_instructions_and_what_the_system_says_first_are_one_message() -> None:
    messages = conversation(
        "Be brief.",
        [
            item(role="developer", content="Be kind."),
            item(type="message", role="user", content=[{"type": "input_text", "text": "hi"}]),
            item(role="system", content="Hurry."),
        ],
    )

    assert messages == (
        {"role": "system", "content": "Be brief.\n\nBe kind."},
        {
            "role": "user",
            "content": "hi\n\n<system-reminder>\nHurry.\n</system-reminder>",
        },
    )


def test_a_thought_a_text_and_its_calls_are_one_turn_and_results_follow() -> None:
    assert told(
        item(role="user", content="hi"),
        item(type="reasoning", summary=[], content=[{"type": "reasoning_text", "text": "hm"}]),
        item(role="assistant", content=[{"type": "output_text", "text": "so"}]),
        call(),
        call(call_id="c2", name="peek", namespace="eyes"),
        item(type="function_call_output", call_id="c2", output="dark"),
        item(
            type="function_call_output",
            call_id="c1",
            output=[{"type": "input_text", "text": "light"}],
        ),
    ) == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "so",
            "reasoning_content": "hm",
            "tool_calls": [
                {
                    "type": "function",
                    "id": "c1",
                    "function": {"name": "look", "arguments": {"a": 1}},
                },
                {
                    "type": "function",
                    "id": "c2",
                    "function": {"name": "eyes__peek", "arguments": {"a": 1}},
                },
            ],
        },
        {"role": "tool", "content": "dark", "tool_call_id": "c2", "name": "eyes__peek"},
        {"role": "tool", "content": "light", "tool_call_id": "c1", "name": "look"},
    ]


def test_calls_of_other_tools_and_their_results_are_functions_too() -> None:
    action = {"type": "exec", "command": ["ls"], "env": {}, "working_directory": "/"}

    patch, done, shell, files = told(
        item(type="custom_tool_call", call_id="c1", name="patch", input="*** Begin"),
        item(type="custom_tool_call_output", call_id="c1", output="done"),
        item(type="local_shell_call", id="lsh_1", call_id="c2", action=action),
        item(type="local_shell_call_output", id="c2", output="bin"),
    )

    arguments = {"input": "*** Begin"}
    assert patch["tool_calls"][0]["function"] == {"name": "patch", "arguments": arguments}
    assert (done["name"], done["content"]) == ("patch", "done")
    arguments = {"command": ["ls"], "working_directory": "/"}  # type: ignore[dict-item]
    assert shell["tool_calls"][0]["function"] == {"name": "local_shell", "arguments": arguments}
    assert (files["name"], files["content"]) == ("local_shell", "bin")


@pytest.mark.parametrize(
    ("fields", "thought"),
    [
        ({"content": [{"type": "reasoning_text", "text": "whole"}]}, "whole"),
        ({"encrypted_content": sealed("kept")}, "kept"),
        ({"summary": [{"type": "summary_text", "text": "short"}]}, "short"),
        ({"encrypted_content": "gAAAA"}, None),
    ],
)
def test_a_thought_is_read_where_it_is_and_one_of_somebody_else_is_left_out(
    fields: dict[str, Any], thought: str | None
) -> None:
    said = told(item(type="reasoning", id="rs_1", **fields), item(role="assistant", content="x"))

    assert said[0].get("reasoning_content") == thought


def test_a_call_that_was_broken_off_can_be_told_but_not_one_that_is_wrong() -> None:
    broken = told(call(arguments='{"a": ', status="incomplete"))

    assert broken[0]["tool_calls"][0]["function"]["arguments"] == {}
    with pytest.raises(UsageError, match=r"input\[0\]\.arguments are not JSON"):
        told(call(arguments='{"a": '))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "compaction"}, r"input\[0\]\.type is compaction"),
        ({"type": "web_search_call"}, r"input\[0\]\.type"),
        ({"role": "robot", "content": ""}, r"input\[0\]\.role"),
        (
            {"role": "user", "content": [{"type": "input_image"}]},
            r"content\[0\]\.image_url must be a data",
        ),
        ({"role": "user", "content": [{"type": "input_text"}]}, r"content\[0\]\.text is required"),
        ({"role": "user", "content": 1}, "content must be"),
        ({"type": "function_call", "name": "x"}, "call_id is required"),
        ({"type": "function_call_output", "output": "x"}, "id is required"),
        ({"type": "custom_tool_call", "call_id": "x"}, "name is required"),
    ],
)
def test_what_cannot_be_read_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        told(item(**fields))


def test_items_are_kept_with_all_that_clients_may_leave_out() -> None:
    easy = whole_item(item(role="assistant", content="so"))

    part = {"type": "output_text", "text": "so", "annotations": [], "logprobs": []}
    assert easy.pop("id").startswith("msg_")
    assert easy == {
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }
    assert whole_item(call(id="fc_1"))["id"] == "fc_1"
    assert "status" not in whole_item(item(type="reasoning", summary=[]))
