"""OpenAPI description of OpenAI's Responses API."""

from __future__ import annotations

from localrun.server.openai.responses.request import RESPONSE, TRUNCATIONS
from localrun.server.openapi.openai import ERRORS, EVENTS
from localrun.server.openapi.operation import Operation, components, operation
from localrun.server.parsing.json_schema import (
    COUNT,
    FLAG,
    NUMBER,
    OBJECT,
    TEXT,
    WHOLE,
    Schema,
    either,
    listed,
    maybe,
    one_of,
    record,
    ref,
)

STATUSES = ("queued", "in_progress", "completed", "incomplete", "failed", "cancelled")
ITEM: Schema = record({"type": TEXT, "id": TEXT})


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    return {**components(RESPONSE), "Response": _response()}


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    path, response = "/v1/responses/{response_id}", ref("Response")
    deleted = {"id": TEXT, "object": one_of("response"), "deleted": FLAG}
    counted = record({"object": one_of("response.input_tokens"), "input_tokens": COUNT})
    return {
        "POST /v1/responses": operation(
            "Answer a conversation of items",
            body=RESPONSE,
            answer=response,
            stream=EVENTS,
            errors=ERRORS,
        ),
        "POST /v1/responses/input_tokens": operation(
            "Count the tokens of a conversation",
            body=RESPONSE,
            answer=counted,
            errors=ERRORS,
        ),
        f"GET {path}": operation("Return a response", answer=response, errors=ERRORS),
        f"DELETE {path}": operation("Delete a response", answer=record(deleted), errors=ERRORS),
        f"POST {path}/cancel": operation("Cancel a response", answer=response, errors=ERRORS),
        f"GET {path}/input_items": operation(
            "List the input items of a response", answer=_page(), errors=ERRORS
        ),
    }


def _response() -> Schema:
    usage = {
        "input_tokens": COUNT,
        "input_tokens_details": record({"cached_tokens": COUNT, "cache_write_tokens": COUNT}),
        "output_tokens": COUNT,
        "output_tokens_details": record({"reasoning_tokens": COUNT}),
        "total_tokens": COUNT,
    }
    numbers = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
    return record(
        {
            "id": TEXT,
            "object": one_of("response"),
            "created_at": WHOLE,
            "completed_at": maybe(WHOLE),
            "status": one_of(*STATUSES),
            "error": maybe(record({"code": TEXT, "message": TEXT})),
            "incomplete_details": maybe(record({"reason": one_of("max_output_tokens")})),
            "model": TEXT,
            "previous_response_id": maybe(TEXT),
            "instructions": maybe(TEXT),
            "output": listed(ITEM),
            "usage": maybe(record(usage)),
            "metadata": OBJECT,
            "reasoning": record({"effort": maybe(TEXT), "summary": maybe(TEXT)}),
            "text": record({"format": record({"type": TEXT}), "verbosity": TEXT}),
            "tools": listed(record({"type": TEXT})),
            "tool_choice": either(TEXT, OBJECT),
            "truncation": one_of(*TRUNCATIONS),
            "parallel_tool_calls": FLAG,
            "store": FLAG,
            "background": FLAG,
            "service_tier": one_of("default"),
            **dict.fromkeys(numbers, NUMBER),
        },
        {"localrun": ref("Dropped")},
    )


def _page() -> Schema:
    return record(
        {
            "object": one_of("list"),
            "data": listed(ITEM),
            "first_id": maybe(TEXT),
            "last_id": maybe(TEXT),
            "has_more": FLAG,
        }
    )
