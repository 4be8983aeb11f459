from __future__ import annotations

from typing import Any

import pytest

from localrun.errors import UsageError
from localrun.server.anthropic.conversation import conversation
from localrun.server.parsing.fields import Fields


def read(*messages: Any, **fields: Any) -> list[Any]:
    return list(conversation(Fields({"messages": list(messages), **fields})))


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value, "cache_control": {"type": "ephemeral"}}


HELLO = {"role": "user", "content": "hello"}


def test_the_system_is_text_or_blocks_and_comes_first() -> None:
    for system in ("a\n\nb", [text("a"), text("b")]):
        assert read(HELLO, system=system) == [{"role": "system", "content": "a\n\nb"}, HELLO]
    assert read({"role": "system", "content": "b"}, HELLO, system="a") == read(
        HELLO, system="a\n\nb"
    )
    assert read(HELLO, system=[]) == [HELLO]


def test_the_billing_line_that_changes_with_each_request_is_left_out() -> None:
    line = "x-anthropic-billing-header: cc_version=2.1.1; cch=eb6c6;"
    wanted = [{"role": "system", "content": "Be brief."}, HELLO]

    assert read(HELLO, system=[text(line), text("Be brief.")]) == wanted
    assert read(HELLO, system=f"{line}\nBe brief.") == wanted


def test_a_later_system_message_is_a_reminder_in_the_users_turn() -> None:
    told = read(HELLO, {"role": "system", "content": [text("Skills: none")]})

    reminder = "<system-reminder>\nSkills: none\n</system-reminder>"
    assert told == [{"role": "user", "content": f"hello\n\n{reminder}"}]


def test_a_turn_with_a_call_goes_the_whole_way_round() -> None:
    said = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "I must look", "signature": "x"},
            {"type": "redacted_thinking", "data": "xyz"},
            text("Let me see."),
            {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "it"}},
        ],
    }
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("a"), text("b")]}

    assert read(HELLO, said, user(text("and now?"), result)) == [
        HELLO,
        {
            "role": "assistant",
            "content": "Let me see.",
            "reasoning_content": "I must look",
            "tool_calls": [
                {
                    "type": "function",
                    "id": "toolu_1",
                    "function": {"name": "look", "arguments": {"at": "it"}},
                }
            ],
        },
        {"role": "tool", "content": "a\n\nb", "tool_call_id": "toolu_1", "name": "look"},
        {"role": "user", "content": "and now?"},
    ]


def test_a_result_that_is_an_error_says_so() -> None:
    failed = {"type": "tool_result", "tool_use_id": "t", "content": "no file", "is_error": True}
    silent = {"type": "tool_result", "tool_use_id": "t"}

    assert [turn["content"] for turn in read(user(failed, silent))] == ["Error: no file", ""]


def test_neighbours_of_one_role_are_one_turn() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    parts = [{"role": "assistant", "content": [call]}, {"role": "assistant", "content": "b"}]

    first, second, last = read(HELLO, HELLO, *parts, HELLO)

    assert first == {"role": "user", "content": "hello\n\nhello"}
    assert (second["content"], len(second["tool_calls"])) == ("b", 1)
    assert last == HELLO


def test_a_document_of_text_is_its_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "words"}

    (turn,) = read(user({"type": "document", "source": source, "title": "Letter"}, text("?")))

    assert turn["content"] == "Letter\nwords\n\n?"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "robot", "content": "x"}, "messages[0].role"),
        ({"role": "user", "content": 1}, "messages[0].content"),
        ({"role": "user", "content": ["x"]}, "messages[0].content"),
        (user({"type": "image", "source": {}}), "messages[0].content[0].source.type"),
        (
            user({"type": "document", "source": {"type": "base64"}}),
            "messages[0].content[0].source.data",
        ),
        (user(text("a"), {"type": "container_upload"}), "messages[0].content[1].type"),
        (user({"type": "text"}), "messages[0].content[0].text"),
        (user({"type": "tool_result"}), "messages[0].content[0].tool_use_id"),
        (
            user({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]}),
            "messages[0].content[0].content[0].source.type",
        ),
        (
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f"}]},
            "messages[0].content[0].input",
        ),
        (
            {"role": "assistant", "content": [{"type": "server_tool_use"}]},
            "messages[0].content[0].type",
        ),
        (
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}],
            },
            "messages",
        ),
        ({"role": "system", "content": "Answer."}, "messages"),
    ],
)
def test_what_cannot_be_read_is_named(message: dict[str, Any], param: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(message)

    assert caught.value.param == param
