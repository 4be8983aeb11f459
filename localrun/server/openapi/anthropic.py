"""Anthropic's messages as OpenAPI's operations and schemas."""

from __future__ import annotations

from localrun.server.anthropic.request import EFFORTS, THINKING
from localrun.server.openapi.words import (
    COUNT,
    FLAG,
    MODEL,
    OBJECT,
    POSITIVE,
    TEXT,
    Operation,
    Schema,
    either,
    listed,
    maybe,
    one_of,
    operation,
    record,
    ref,
    request,
    sampling,
    shared,
)
from localrun.server.parsing.limits import MOST_STOPS

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
        "MessagesRequest": request(
            {"model": MODEL, "max_tokens": POSITIVE, "messages": _messages()}, _optional()
        ),
        "AnthropicMessage": _answer(),
    }


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    counted = request({"model": MODEL, "messages": _messages()}, _optional())
    return {
        "POST /v1/messages": operation(
            "Answer a conversation",
            body=ref("MessagesRequest"),
            answer=ref("AnthropicMessage"),
            stream="text/event-stream",
            errors=ERRORS,
        ),
        "POST /v1/messages/count_tokens": operation(
            "Count the tokens of a conversation",
            body=counted,
            answer=record({"input_tokens": COUNT}),
            errors=ERRORS,
        ),
    }


def _messages() -> Schema:
    content = either(TEXT, listed(record({"type": TEXT})))
    role = one_of("user", "assistant", "system")
    return listed(record({"role": role, "content": content}), minItems=1)


def _optional() -> dict[str, Schema]:
    thinking = request({"type": one_of(*THINKING)}, {"budget_tokens": POSITIVE, "display": TEXT})
    choice = request({"type": one_of("auto", "any", "none", "tool")}, {"name": TEXT})
    tool = request({"name": TEXT, "input_schema": OBJECT}, {"description": TEXT})
    return {
        **sampling(),
        **shared(),
        "system": either(TEXT, listed(record({"type": TEXT}))),
        "stop_sequences": listed(TEXT, maxItems=MOST_STOPS),
        "stream": FLAG,
        "thinking": thinking,
        "output_config": request({}, {"effort": one_of(*EFFORTS), "format": OBJECT}),
        "tools": listed(tool),
        "tool_choice": choice,
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
