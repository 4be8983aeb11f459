"""OpenAI's client on responses."""

from __future__ import annotations

import json
from typing import Any

import acting
import openai
from pydantic import BaseModel

client = openai.OpenAI(base_url=f"{acting.URL}/v1", api_key="local", max_retries=0)
create: Any = client.responses.create
ASKED: dict[str, Any] = {"model": acting.MODEL, "input": acting.QUESTION, "temperature": 0}
TOOLS: list[Any] = [
    {
        "type": "function",
        "name": "get_weather",
        "description": "Get it",
        "parameters": acting.CITY,
        "strict": False,
    }
]


class Sum(BaseModel):
    sum: int
    sure: bool


def stream() -> object:
    events = create(**ASKED, stream=True)
    return [event.delta for event in events if event.type == "response.output_text.delta"]


def tools() -> object:
    """Send the call back with its result."""
    given: list[Any] = [{"role": "user", "content": acting.WEATHER_QUESTION}]
    first = create(**{**ASKED, "input": given}, tools=TOOLS)
    given += [*first.output, _result(first)]
    return _told(first, create(**{**ASKED, "input": given}, tools=TOOLS))


def stream_tools() -> object:
    """Let the server remember the call."""
    with client.responses.stream(
        **{**ASKED, "input": acting.WEATHER_QUESTION}, tools=TOOLS
    ) as events:
        first = events.get_final_response()
    asked = {**ASKED, "input": [_result(first)], "previous_response_id": first.id}
    return _told(first, create(**asked, tools=TOOLS))


def schema() -> object:
    parsed = client.responses.parse(**ASKED, text_format=Sum).output_parsed
    assert parsed is not None
    return parsed.model_dump()


def leave() -> None:
    with create(model=acting.ENDLESS, input=acting.QUESTION, stream=True) as events:
        deltas = (event for event in events if event.type.endswith(".delta"))
        next(deltas)


def _result(first: Any) -> dict[str, Any]:
    return {
        "type": "function_call_output",
        "call_id": _calls(first)[0].call_id,
        "output": acting.WEATHER,
    }


def _calls(response: Any) -> list[Any]:
    return [item for item in response.output if item.type == "function_call"]


def _told(first: Any, second: Any) -> object:
    calls = [[call.name, json.loads(call.arguments)] for call in _calls(first)]
    return {"calls": calls, "text": second.output_text}


acting.act(
    chat=lambda: create(**ASKED).output_text,
    stream=stream,
    tools=tools,
    stream_tools=stream_tools,
    schema=schema,
    cancel=lambda: acting.cancelled(leave),
    unknown=lambda: acting.failure(lambda: create(**{**ASKED, "model": acting.UNKNOWN})),
)
