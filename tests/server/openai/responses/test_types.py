"""What ``/v1/responses`` answers, against the types that others publish.

OpenAI's own package is generated from its specification; ``openresponses-types`` is that of
the Open Responses project, which requires more of the fields.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.serving import Served

LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}
CALL = '<tool_call>{"name":"look","arguments":{"a":1}}</tool_call>'
PATCH = '<tool_call>{"name":"patch","arguments":{"input":"x"}}</tool_call>'
SHELL = '<tool_call>{"name":"local_shell","arguments":{"command":["ls"]}}</tool_call>'
SCHEMA = {"type": "json_schema", "name": "x", "schema": {"type": "object"}}
REQUESTS: dict[str, dict[str, Any]] = {
    "text": {"input": "say one two", "top_logprobs": 2, "instructions": "Be brief."},
    "thinking": {"input": "say I see</think>\n\nSo", "reasoning": {"effort": "low"}},
    "summary": {
        "input": "say I see</think>\n\nSo",
        "reasoning": {"effort": "high", "summary": "detailed"},
        "include": ["reasoning.encrypted_content"],
    },
    "tools": {"input": f"say {CALL}", "tools": [LOOK], "tool_choice": "required"},
    "schema": {"input": "say x", "text": {"format": SCHEMA}},
    "error": {"input": "die"},
}
ONLY_OPENAIS = {
    "custom": {"input": f"say {PATCH}", "tools": [{"type": "custom", "name": "patch"}]},
    "shell": {"input": f"say {SHELL}", "tools": [{"type": "local_shell"}]},
}


def streamed(served: Served, fields: dict[str, Any]) -> list[Any]:
    body = {"model": "fake", "stream": True, **fields}
    text = httpx.post(f"{served.url}/v1/responses", json=body).text
    return [json.loads(found) for found in re.findall(r"^data: (.*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("name", [*REQUESTS, *ONLY_OPENAIS])
def test_every_event_is_one_of_openais(served: Served, name: str) -> None:
    pydantic = pytest.importorskip("pydantic")
    openai = pytest.importorskip("openai.types.responses", reason="openai is not installed")
    events = streamed(served, (REQUESTS | ONLY_OPENAIS)[name])

    adapter = pydantic.TypeAdapter(openai.ResponseStreamEvent)
    for event in events:
        assert adapter.validate_python(event).type == event["type"]
    openai.Response.model_validate(events[-1]["response"])


@pytest.mark.parametrize("name", REQUESTS)
def test_every_event_is_one_of_open_responses(served: Served, name: str) -> None:
    types = pytest.importorskip(
        "openresponses_types.types", reason="openresponses-types is not installed"
    )
    known = event_types(types)
    events = streamed(served, REQUESTS[name])

    for event in events:
        if "response" in event:  # its types say that a schema is null
            event["response"]["text"]["format"] |= {"schema": None}
        # an older name, which OpenAI's clients do not know
        kind = event["type"].replace("reasoning_text", "reasoning")
        known[kind]({**event, "type": kind})
    types.ResponseResource.model_validate(events[-1]["response"])


def event_types(types: Any) -> dict[str, Callable[[Any], Any]]:
    """Return what validates an event, by the type of event."""
    found: dict[str, Callable[[Any], Any]] = {}
    for name, model in vars(types).items():
        if name.endswith("StreamingEvent"):
            (kind,) = model.model_fields["type"].annotation
            assert isinstance(kind, Enum)
            found[str(kind.value)] = model.model_validate
    return found
