"""Convert a template and render it."""

from __future__ import annotations

from typing import Any

from localrun.chat.gotemplate.converter import convert
from localrun.chat.template import ChatTemplate


def rendered(
    source: str,
    messages: list[dict[str, Any]],
    *,
    tools: list[dict[str, Any]] | None = None,
    options: dict[str, Any] | None = None,
) -> str:
    template = ChatTemplate(convert(source), bos="<s>", eos="</s>")
    return template.render(messages, tools=tools or (), options=options)
