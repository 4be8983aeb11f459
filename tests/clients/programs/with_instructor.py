"""Instructor: objects from OpenAI's API, in each of the ways that it knows."""

from __future__ import annotations

from typing import Any

import acting
import instructor
import openai
from pydantic import BaseModel

ASKED: dict[str, Any] = {
    "model": acting.MODEL,
    "messages": [{"role": "user", "content": acting.QUESTION}],
    "temperature": 0,
    "max_retries": 0,
}


class Sum(BaseModel):
    """A sum and whether it is right."""

    sum: int
    sure: bool


def objects(mode: instructor.Mode) -> Any:
    plain = openai.OpenAI(base_url=f"{acting.URL}/v1", api_key="local", max_retries=0)
    return instructor.from_openai(plain, mode=mode)


def schema(mode: instructor.Mode) -> object:
    return objects(mode).create(**ASKED, response_model=Sum).model_dump()


def partial_schema() -> object:
    parts = objects(instructor.Mode.JSON_SCHEMA).create_partial(**ASKED, response_model=Sum)
    return list(parts)[-1].model_dump()


acting.act(
    schema=lambda: schema(instructor.Mode.JSON_SCHEMA),
    schema_by_tool=lambda: schema(instructor.Mode.TOOLS),
    schema_in_stream=partial_schema,
)
