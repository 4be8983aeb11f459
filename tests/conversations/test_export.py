"""Chats as Markdown and JSON."""

from __future__ import annotations

import json

from localrun.conversations.export import HEADINGS, to_json, to_markdown
from localrun.conversations.message import ROLES, ChatSummary, KeptMessage

CHAT = ChatSummary(
    id="1f3a5b7c", title="Why?", model="guide", created_s=1, updated_s=2, num_messages=3, head=3
)


def test_every_role_has_a_heading() -> None:
    assert set(HEADINGS) == set(ROLES)


def test_markdown_has_thoughts_calls_and_attachments() -> None:
    messages = [
        KeptMessage(role="user", content="Why?", attachments=("photo.jpg",)),
        KeptMessage(
            role="assistant",
            content="",
            thinking="first\nsecond",
            model="guide",
            tool_calls=({"function": {"name": "add", "arguments": {"a": 1}}},),
        ),
        KeptMessage(role="tool", content="```\n2", tool_name="add"),
    ]

    text = to_markdown(CHAT, messages)

    assert text.startswith("# Why?\n\n## You\n\n- photo.jpg\n\nWhy?\n")
    assert "## Assistant (guide)\n\n> first\n> second\n" in text
    assert '```json\n{\n  "name": "add"' in text
    assert text.endswith("## Tool add\n\n````\n```\n2\n````\n")


def test_json_is_complete() -> None:
    message = KeptMessage(role="user", content="世界", id=3, parent=2, created_s=5.0)

    exported = json.loads(json.dumps(to_json(CHAT, {"system": "s"}, [message])))

    assert exported["format_version"] == 1
    assert exported["settings"] == {"system": "s"}
    assert exported["messages"] == [
        {"id": 3, "parent": 2, "role": "user", "content": "世界", "created_s": 5.0}
    ]
