"""Anthropic's client."""

from __future__ import annotations

import json
from typing import Any

import acting
import anthropic

client = anthropic.Anthropic(base_url=acting.URL, api_key="local", max_retries=0)
create: Any = client.messages.create
ASKED: dict[str, Any] = {
    "model": acting.MODEL,
    "max_tokens": 200,
    "messages": [{"role": "user", "content": acting.QUESTION}],
    "extra_body": {"temperature": 0},
}
TOOLS: list[Any] = [{"name": "get_weather", "description": "Get it", "input_schema": acting.CITY}]


def stream() -> object:
    with client.messages.stream(**ASKED) as events:
        return list(events.text_stream)


def thinking() -> object:
    wanted = {"type": "enabled", "budget_tokens": 1024}
    message = create(**{**ASKED, "max_tokens": 1500}, thinking=wanted)
    return ["".join(b.thinking for b in message.content if b.type == "thinking"), _text(message)]


def tools() -> object:
    messages: list[Any] = [{"role": "user", "content": acting.WEATHER_QUESTION}]
    return _go_on(messages, create(**{**ASKED, "messages": messages}, tools=TOOLS))


def stream_tools() -> object:
    messages: list[Any] = [{"role": "user", "content": acting.WEATHER_QUESTION}]
    with client.messages.stream(**{**ASKED, "messages": messages}, tools=TOOLS) as events:
        return _go_on(messages, events.get_final_message())


def required_tool() -> object:
    forced = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
    return _calls(create(**ASKED, tools=TOOLS, tool_choice=forced))


def schema() -> object:
    form = {"type": "json_schema", "schema": acting.SUM}
    return json.loads(_text(create(**ASKED, output_config={"format": form})))


def leave() -> None:
    with client.messages.stream(**{**ASKED, "model": acting.ENDLESS, "extra_body": {}}) as events:
        deltas = (event for event in events if event.type == "content_block_delta")
        next(deltas)


def _go_on(messages: list[Any], first: Any) -> object:
    (call,) = [block for block in first.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": acting.WEATHER}
    messages += [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]
    second = create(**{**ASKED, "messages": messages}, tools=TOOLS)
    return {"calls": _calls(first), "text": _text(second)}


def picture(text: str, png: str) -> object:
    source = {"type": "base64", "media_type": "image/png", "data": png}
    content = [{"type": "image", "source": source}, {"type": "text", "text": text}]
    return _text(create(**{**ASKED, "messages": [{"role": "user", "content": content}]}))


def _calls(message: Any) -> list[Any]:
    return [[block.name, block.input] for block in message.content if block.type == "tool_use"]


def _text(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


acting.act(
    models=lambda: [model.id for model in client.models.list()],
    chat=lambda: _text(create(**ASKED)),
    stream=stream,
    thinking=thinking,
    tools=tools,
    stream_tools=stream_tools,
    required_tool=required_tool,
    schema=schema,
    pictures=lambda: acting.seen(picture),
    cancel=lambda: acting.cancelled(leave),
    unknown=lambda: acting.failure(lambda: create(**{**ASKED, "model": acting.UNKNOWN})),
)
