"""OpenAI's client on chat completions, embeddings and models."""

from __future__ import annotations

import json
from typing import Any

import acting
import openai
from pydantic import BaseModel

client = openai.OpenAI(base_url=f"{acting.URL}/v1", api_key="local", max_retries=0)
create: Any = client.chat.completions.create
ASKED: dict[str, Any] = {
    "model": acting.MODEL,
    "messages": [{"role": "user", "content": acting.QUESTION}],
    "temperature": 0,
}
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {"name": "get_weather", "description": "Get it", "parameters": acting.CITY},
    }
]


class Sum(BaseModel):
    sum: int
    sure: bool


def chat() -> object:
    return create(**ASKED).choices[0].message.content


def stream() -> object:
    chunks = list(create(**ASKED, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage.completion_tokens > 0
    return [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]


def generate() -> object:
    chunks = client.completions.create(
        model=acting.MODEL, prompt=acting.PROMPT, temperature=0, stream=True
    )
    return "".join(chunk.choices[0].text for chunk in chunks)


def thinking() -> object:
    message = create(**ASKED, reasoning_effort="high").choices[0].message
    return [message.reasoning_content, message.content]


def tools() -> object:
    messages: list[Any] = [{"role": "user", "content": acting.WEATHER_QUESTION}]
    first = create(**{**ASKED, "messages": messages}, tools=TOOLS).choices[0].message
    return _go_on(messages, first)


def stream_tools() -> object:
    messages: list[Any] = [{"role": "user", "content": acting.WEATHER_QUESTION}]
    asked = {**ASKED, "messages": messages}
    with client.chat.completions.stream(**asked, tools=TOOLS) as events:
        first = events.get_final_completion().choices[0].message
    return _go_on(messages, first)


def required_tool() -> object:
    forced = {"type": "function", "function": {"name": "get_weather"}}
    answer = create(**ASKED, tools=TOOLS, tool_choice=forced, parallel_tool_calls=False)
    return [_call(call) for call in answer.choices[0].message.tool_calls]


def schema() -> object:
    answer = client.chat.completions.parse(**ASKED, response_format=Sum)
    return answer.choices[0].message.parsed.model_dump()  # type: ignore[union-attr]


def embeddings() -> object:
    answer = client.embeddings.create(model=acting.EMBEDDER, input=acting.TEXTS)
    return [one.embedding for one in answer.data]


def picture(text: str, png: str) -> object:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
    content = [image, {"type": "text", "text": text}]
    asked = {**ASKED, "messages": [{"role": "user", "content": content}]}
    return create(**asked).choices[0].message.content


def leave() -> None:
    with create(model=acting.ENDLESS, messages=ASKED["messages"], stream=True) as chunks:
        for _ in range(3):
            next(iter(chunks))


def _go_on(messages: list[Any], first: Any) -> object:
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": acting.WEATHER}
    messages += [first.model_dump(exclude_none=True), result]
    second = create(**{**ASKED, "messages": messages}, tools=TOOLS).choices[0].message
    return {"calls": [_call(call) for call in first.tool_calls], "text": second.content}


def _call(call: Any) -> object:
    return [call.function.name, json.loads(call.function.arguments)]


acting.act(
    models=lambda: [model.id for model in client.models.list()],
    chat=chat,
    stream=stream,
    generate=generate,
    thinking=thinking,
    tools=tools,
    stream_tools=stream_tools,
    required_tool=required_tool,
    schema=schema,
    embeddings=embeddings,
    pictures=lambda: acting.seen(picture),
    cancel=lambda: acting.cancelled(leave),
    unknown=lambda: acting.failure(lambda: create(**{**ASKED, "model": acting.UNKNOWN})),
)
