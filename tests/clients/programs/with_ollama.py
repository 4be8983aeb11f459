"""Ollama's client."""

from __future__ import annotations

import base64
import json
from typing import Any

import acting
import ollama

client = ollama.Client(host=acting.URL)
chatting: Any = client.chat
COLD = {"temperature": 0}
ASKED: dict[str, Any] = {
    "model": acting.MODEL,
    "messages": [{"role": "user", "content": acting.QUESTION}],
    "options": COLD,
}


def get_weather(city: str) -> str:
    """Get the weather.

    Args:
        city: The name of the city
    """
    return f"{acting.WEATHER} in {city}"


def stream() -> object:
    return [part.message.content or "" for part in chatting(**ASKED, stream=True)]


def thinking() -> object:
    message = chatting(**ASKED, think=True).message
    return [message.thinking, message.content]


def tools() -> object:
    messages: list[Any] = [{"role": "user", "content": acting.WEATHER_QUESTION}]
    first = chatting(**{**ASKED, "messages": messages}, tools=[get_weather]).message
    return _go_on(messages, first, first.tool_calls)


def stream_tools() -> object:
    messages: list[Any] = [{"role": "user", "content": acting.WEATHER_QUESTION}]
    parts = list(chatting(**{**ASKED, "messages": messages}, tools=[get_weather], stream=True))
    calls = [call for part in parts for call in part.message.tool_calls or []]
    said = "".join(part.message.content or "" for part in parts)
    first = ollama.Message(role="assistant", content=said, tool_calls=calls)
    return _go_on(messages, first, calls)


def embeddings() -> object:
    vectors = client.embed(model=acting.EMBEDDER, input=acting.TEXTS).embeddings
    return [list(vector) for vector in vectors]


def leave() -> None:
    parts = chatting(**{**ASKED, "model": acting.ENDLESS, "options": {}}, stream=True)
    for _ in range(3):
        next(parts)
    parts.close()


def picture(text: str, png: str) -> object:
    messages = [{"role": "user", "content": text, "images": [base64.b64decode(png)]}]
    return chatting(**{**ASKED, "messages": messages}).message.content


def _go_on(messages: list[Any], first: Any, calls: list[Any]) -> object:
    result = {"role": "tool", "tool_name": "get_weather", "content": acting.WEATHER}
    second = chatting(**{**ASKED, "messages": [*messages, first, result]}, tools=[get_weather])
    named = [[call.function.name, dict(call.function.arguments)] for call in calls]
    return {"calls": named, "text": second.message.content}


acting.act(
    models=lambda: [model.model for model in client.list().models],
    chat=lambda: chatting(**ASKED).message.content,
    stream=stream,
    thinking=thinking,
    generate=lambda: client.generate(acting.MODEL, acting.QUESTION, options=COLD).response,
    tools=tools,
    stream_tools=stream_tools,
    schema=lambda: json.loads(chatting(**ASKED, format=acting.SUM).message.content),
    embeddings=embeddings,
    pictures=lambda: acting.seen(picture),
    cancel=lambda: acting.cancelled(leave),
    unknown=lambda: acting.failure(lambda: chatting(**{**ASKED, "model": acting.UNKNOWN})),
)
