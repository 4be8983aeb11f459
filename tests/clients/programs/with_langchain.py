"""LangChain's chat models and embeddings, the same for all of its integrations."""

from __future__ import annotations

from typing import Any, Literal

import acting
from langchain_core.messages import HumanMessage, ToolMessage
from pydantic import BaseModel


class Sum(BaseModel):
    """A sum and whether it is right."""

    sum: int
    sure: bool


def get_weather(city: Literal["Oslo", "Bergen"]) -> str:
    """Get the weather."""
    return f"{acting.WEATHER} in {city}"


def act(model: Any, endless: Any, unknown: Any, embedder: Any, **more: Any) -> None:
    """Do all acts with the models of an integration."""
    able = model.bind_tools([get_weather])
    asked = [HumanMessage(acting.WEATHER_QUESTION)]

    def go_on(first: Any) -> object:
        result = ToolMessage(acting.WEATHER, tool_call_id=first.tool_calls[0]["id"])
        second = able.invoke([*asked, first, result])
        return {"calls": _calls(first), "text": second.text}

    def stream_tools() -> object:
        first, *rest = able.stream(asked)
        return go_on(sum(rest, first))

    def leave() -> None:
        parts = endless.stream(acting.QUESTION)
        next(parts)
        parts.close()

    def picture(text: str, png: str) -> object:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
        return model.invoke([HumanMessage([image, {"type": "text", "text": text}])]).text

    acting.act(
        chat=lambda: model.invoke(acting.QUESTION).text,
        stream=lambda: [str(part.text) for part in model.stream(acting.QUESTION)],
        tools=lambda: go_on(able.invoke(asked)),
        stream_tools=stream_tools,
        schema=lambda: model.with_structured_output(Sum).invoke(acting.QUESTION).model_dump(),
        embeddings=lambda: embedder.embed_documents(acting.TEXTS),
        pictures=lambda: acting.seen(picture),
        cancel=lambda: acting.cancelled(leave),
        unknown=lambda: acting.failure(lambda: unknown.invoke(acting.QUESTION)),
        **more,
    )


def required_tool(model: Any) -> object:
    """Return the calls of a model that has to call a tool."""
    forced = model.bind_tools([get_weather], tool_choice="get_weather")
    return _calls(forced.invoke(acting.QUESTION))


def by_tool(model: Any) -> object:
    """Return an object that is the argument of a tool."""
    shaped = model.with_structured_output(Sum, method="function_calling")
    found: Sum = shaped.invoke(acting.QUESTION)
    return found.model_dump()


def _calls(message: Any) -> list[Any]:
    return [[call["name"], call["args"]] for call in message.tool_calls]
