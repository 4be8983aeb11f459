"""Tool prompt for templates without tool support.

The tools go into the system message or, since some templates refuse one, before the first
question. The prompt asks for calls in Hermes's format, which most models have seen, and earlier
calls are written back in it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localrun.chat.adaptation import Message

_PROMPT = """You may call these functions, each given by a JSON object:
{tools}

To call one, write nothing but a JSON object with its name and its arguments between tags, \
as in this example:
<tool_call>
{{"name": "NAME", "arguments": {{"KEY": "VALUE"}}}}
</tool_call>
Call a function only when it helps; otherwise answer as usual."""


def supports_tools(source: str) -> bool:
    """Return whether a template mentions tools or calls, so that it needs no tool prompt."""
    return any(word in source for word in ("tools", "functions", "tool_call"))


def with_tool_prompt(
    messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]
) -> list[Message]:
    """Return the conversation as plain messages, with a description of the tools."""
    lines = "\n".join(json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools)
    prompt = _PROMPT.format(tools=lines)
    plain = [_plain(message) for message in messages]
    if not plain:
        return plain
    roles = (message.get("role") for message in plain)
    first = next((index for index, role in enumerate(roles) if role in {"system", "user"}), 0)
    content = plain[first].get("content") or ""
    texts = (content, prompt) if plain[first].get("role") == "system" else (prompt, content)
    plain[first] = {**plain[first], "content": "\n\n".join(filter(None, texts))}
    return plain


def _plain(message: Message) -> Message:
    """Return the message with its calls, or its tool result, as text."""
    calls = message.get("tool_calls")
    if calls:
        texts = [message.get("content") or "", *map(_call_text, calls)]
        return {"role": "assistant", "content": "\n".join(filter(None, texts))}
    if message.get("role") == "tool":
        content = f"<tool_response>\n{message.get('content')}\n</tool_response>"
        return {"role": "user", "content": content}
    return message


def _call_text(call: Message) -> str:
    function = call.get("function", call)
    stated = {"name": function.get("name"), "arguments": function.get("arguments")}
    return f"<tool_call>\n{json.dumps(stated, ensure_ascii=False)}\n</tool_call>"
