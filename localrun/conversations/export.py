"""Export of a chat as Markdown for people, or as JSON for programs."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localrun.conversations.message import ChatSummary, KeptMessage

FORMAT_VERSION = 1
HEADINGS = {
    "system": "System",
    "user": "You",
    "assistant": "Assistant",
    "tool": "Tool",
    "summary": "Summary of the messages above",
}
FENCES = re.compile(r"^ {0,3}(`{3,})", re.MULTILINE)


def to_markdown(chat: ChatSummary, messages: Sequence[KeptMessage]) -> str:
    """Return the messages as Markdown, each with a heading; ends with a line end."""
    parts = [f"# {chat.title or chat.id}"]
    for message in messages:
        parts += _parts(message)
    return "\n\n".join(parts) + "\n"


def to_json(
    chat: ChatSummary,
    settings: dict[str, Any],
    messages: Sequence[KeptMessage],
    images: Mapping[int, Sequence[bytes]] | None = None,
) -> dict[str, Any]:
    """Return the chat with its messages, and the images by message id, as a JSON object."""
    return {
        "format_version": FORMAT_VERSION,
        **chat.to_json(),
        "settings": settings,
        "messages": [
            message.to_json() | images_json((images or {}).get(message.id, ()))
            for message in messages
        ],
    }


def images_json(images: Sequence[bytes]) -> dict[str, list[str]]:
    """Return the field ``images`` of a message, in base64; without images, no field."""
    encoded = [base64.b64encode(image).decode() for image in images]
    return {"images": encoded} if encoded else {}


def _parts(message: KeptMessage) -> list[str]:
    heading = HEADINGS.get(message.role, message.role)
    if message.role == "tool" and message.tool_name:
        heading += f" {message.tool_name}"
    elif message.model:
        heading += f" ({message.model})"
    parts = [f"## {heading}"]
    if message.attachments:
        parts.append("\n".join(f"- {name}" for name in message.attachments))
    if message.thinking:
        parts.append("\n".join(f"> {line}".rstrip() for line in message.thinking.splitlines()))
    if message.content:
        is_code = message.role == "tool"
        parts.append(_fenced(message.content) if is_code else message.content)
    calls = [call.get("function", call) for call in message.tool_calls]
    parts += [_fenced(json.dumps(call, ensure_ascii=False, indent=2), "json") for call in calls]
    return parts


def _fenced(text: str, language: str = "") -> str:
    """Return a text as a block of code, with a fence that the text does not have."""
    longest = max((len(match) for match in FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1 if longest > 2 else 3)  # noqa: PLR2004 - the shortest fence is three
    return f"{fence}{language}\n{text}\n{fence}"
