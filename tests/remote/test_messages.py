from __future__ import annotations

from typing import Any

from localrun.chat.media_marks import MARK
from localrun.remote.messages import engine_messages


def call(name: str, call_id: str | None = None, **arguments: object) -> dict[str, object]:
    return {"type": "function", "id": call_id, "function": {"name": name, "arguments": arguments}}


def test_plain_messages_stay_as_they_are() -> None:
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "hi", "name": "Ada"},
        {"role": "assistant", "content": "yes", "reasoning_content": "Hm."},
    ]

    assert engine_messages(messages) == messages


def test_arguments_are_text_and_ids_are_kept() -> None:
    messages = engine_messages(
        [
            {"role": "assistant", "content": "", "tool_calls": [call("f", "x", a=1)]},
            {"role": "tool", "content": "7", "tool_call_id": "x"},
        ]
    )

    assert messages[0]["tool_calls"][0] == {
        "id": "x",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a": 1}'},
    }
    assert messages[1] == {"role": "tool", "content": "7", "tool_call_id": "x"}


def test_calls_without_ids_get_some_that_their_results_name() -> None:
    """Ollama's clients send no ids; a result may name its tool."""
    messages = engine_messages(
        [
            {"role": "assistant", "content": "", "tool_calls": [call("f"), call("g"), call("f")]},
            {"role": "tool", "content": "of g", "tool_name": "g"},
            {"role": "tool", "content": "of f"},
            {"role": "tool", "content": "of f again", "tool_name": "f"},
        ]
    )
    ids = [each["id"] for each in messages[0]["tool_calls"]]

    assert len(set(ids)) == 3
    assert [message["tool_call_id"] for message in messages[1:]] == [ids[1], ids[0], ids[2]]


def test_ids_differ_between_turns() -> None:
    turn: list[dict[str, Any]] = [
        {"role": "assistant", "content": "", "tool_calls": [call("f")]},
        {"role": "tool", "content": "1"},
    ]
    messages = engine_messages([*turn, *turn])

    assert messages[1]["tool_call_id"] != messages[3]["tool_call_id"]


def test_a_result_without_a_call_has_an_id_all_the_same() -> None:
    assert engine_messages([{"role": "tool", "content": "1"}])[0]["tool_call_id"] == "call_0"


PNG, WAV, PDF = b"\x89PNG\r\n\x1a\n", b"RIFF0000WAVE", b"%PDF-1.7"


def medium(data: bytes, expected: str, **more: object) -> dict[str, object]:
    return {"data": data, "expected": expected, "place": "x", **more}


def test_media_stand_where_the_text_has_them() -> None:
    media = [medium(PNG, "image", detail="low"), medium(WAV, "sound"), medium(PDF, "file")]
    content = f"What is {MARK}{MARK}? And {MARK}"

    (message,) = engine_messages([{"role": "user", "content": content, "media": media}])

    assert message["content"] == [
        {"type": "text", "text": "What is "},
        {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"},
        },
        {"type": "input_audio", "input_audio": {"data": "UklGRjAwMDBXQVZF", "format": "wav"}},
        {"type": "text", "text": "? And "},
        {
            "type": "file",
            "file": {
                "filename": "file.pdf",
                "file_data": "data:application/pdf;base64,JVBERi0xLjc=",
            },
        },
    ]
    assert "media" not in message


def test_the_format_is_that_of_the_content() -> None:
    media = [medium(b"\xff\xd8\xff", "sound")]

    (message,) = engine_messages([{"role": "user", "content": MARK, "media": media}])

    assert message["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
