"""Convert a template and render it."""

from __future__ import annotations

from typing import Any

from localrun.chat.fallback import supports_tools
from localrun.chat.gotemplate.converter import convert
from localrun.chat.template import ChatTemplate


def rendered(
    source: str,
    messages: list[dict[str, Any]],
    *,
    tools: list[dict[str, Any]] | None = None,
    options: dict[str, Any] | None = None,
) -> str:
    converted = convert(source)
    template = ChatTemplate(converted, bos="<s>", eos="</s>")
    if not supports_tools(converted):  # then ours are told in words, and Go's are not
        tools = None
    return template.render(messages, tools=tools or (), options=options)
