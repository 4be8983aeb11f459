"""Tell a model about tools whose template knows none.

The tools go into the system message or, since some templates refuse one, before the
first question; calls are asked for, and written back, as Hermes has them, which most
models have seen.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Message = Mapping[str, Any]

_PROMPT = """You may call these functions, each given by a JSON object:
{tools}

To call one, write nothing but a JSON object with its name and its arguments between tags, \
as in this example:
<tool_call>
{{"name": "NAME", "arguments": {{"KEY": "VALUE"}}}}
</tool_call>
Call a function only when it helps; otherwise answer as usual."""


def knows_tools(source: str) -> bool:
    """Return whether a template has a way of its own with tools or calls."""
    return any(word in source for word in ("tools", "functions", "tool_call"))


def told_of_tools(messages: Sequence[Message], tools: Sequence[Message]) -> list[Message]:
    """Return a conversation of plain messages, in which the tools are described."""
    lines = "\n".join(json.dumps(tool.get("function", tool), ensure_ascii=False) for tool in tools)
    prompt = _PROMPT.format(tools=lines)
    plain = [_plain(message) for message in messages]
    first = next((at for at, one in enumerate(plain) if one.get("role") in {"system", "user"}), 0)
    if not plain:
        return plain
    content = plain[first].get("content") or ""
    texts = (content, prompt) if plain[first].get("role") == "system" else (prompt, content)
    plain[first] = {**plain[first], "content": "\n\n".join(filter(None, texts))}
    return plain


def _plain(message: Message) -> Message:
    """Write calls and results as text."""
    calls = message.get("tool_calls")
    if calls:
        texts = [message.get("content") or "", *map(_written, calls)]
        return {"role": "assistant", "content": "\n".join(filter(None, texts))}
    if message.get("role") == "tool":
        content = f"<tool_response>\n{message.get('content')}\n</tool_response>"
        return {"role": "user", "content": content}
    return message


def _written(call: Message) -> str:
    function = call.get("function", call)
    stated = {"name": function.get("name"), "arguments": function.get("arguments")}
    return f"<tool_call>\n{json.dumps(stated, ensure_ascii=False)}\n</tool_call>"
