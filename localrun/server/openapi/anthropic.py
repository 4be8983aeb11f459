"""OpenAPI description of Anthropic's Messages API."""

from __future__ import annotations

from localrun.server.anthropic.request import COUNT as COUNT_TABLE
from localrun.server.anthropic.request import MESSAGES
from localrun.server.openapi.operation import Operation, components, operation
from localrun.server.parsing.json_schema import (
    COUNT,
    OBJECT,
    TEXT,
    Schema,
    either,
    listed,
    maybe,
    one_of,
    record,
    ref,
)

ERRORS = "AnthropicError"
STOPS = ("end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded")


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    return {
        ERRORS: record(
            {
                "type": one_of("error"),
                "error": record({"type": TEXT, "message": TEXT}),
                "request_id": maybe(TEXT),
            }
        ),
        **components(MESSAGES),
        "AnthropicMessage": _answer(),
    }


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    return {
        "POST /v1/messages": operation(
            "Answer a conversation",
            body=MESSAGES,
            answer=ref("AnthropicMessage"),
            stream="text/event-stream",
            errors=ERRORS,
        ),
        "POST /v1/messages/count_tokens": operation(
            "Count the tokens of a conversation",
            body=COUNT_TABLE,
            answer=record({"input_tokens": COUNT}),
            errors=ERRORS,
        ),
    }


def _answer() -> Schema:
    counts = (
        "input_tokens",
        "output_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
    )
    block = either(
        record({"type": one_of("text"), "text": TEXT}),
        record({"type": one_of("thinking"), "thinking": TEXT, "signature": TEXT}),
        record({"type": one_of("tool_use"), "id": TEXT, "name": TEXT, "input": OBJECT}),
    )
    return record(
        {
            "id": TEXT,
            "type": one_of("message"),
            "role": one_of("assistant"),
            "model": TEXT,
            "content": listed(block),
            "stop_reason": maybe(one_of(*STOPS)),
            "stop_sequence": maybe(TEXT),
            "usage": record(dict.fromkeys(counts, COUNT)),
        },
        {"localrun": ref("Dropped")},
    )
