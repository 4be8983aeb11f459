"""OpenAI's responses as OpenAPI's operations and schemas."""

from __future__ import annotations

from localrun.chat.thinking import EFFORTS
from localrun.engine.params import MOST_TOP
from localrun.server.openai.chat import VERBOSITIES
from localrun.server.openai.responses.request import INCLUDED, SUMMARIES, TRUNCATIONS
from localrun.server.openapi.openai import ERRORS, EVENTS
from localrun.server.openapi.words import (
    COUNT,
    FLAG,
    MODEL,
    NUMBER,
    OBJECT,
    POSITIVE,
    TEXT,
    WHOLE,
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

STATUSES = ("queued", "in_progress", "completed", "incomplete", "failed", "cancelled")
ITEM: Schema = record({"type": TEXT, "id": TEXT})


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    return {"ResponsesRequest": _request(), "Response": _response()}


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    one, response = "/v1/responses/{number}", ref("Response")
    deleted = {"id": TEXT, "object": one_of("response"), "deleted": FLAG}
    counted = record({"object": one_of("response.input_tokens"), "input_tokens": COUNT})
    return {
        "POST /v1/responses": operation(
            "Answer a conversation of items",
            body=ref("ResponsesRequest"),
            answer=response,
            stream=EVENTS,
            errors=ERRORS,
        ),
        "POST /v1/responses/input_tokens": operation(
            "Count the tokens of a conversation",
            body=ref("ResponsesRequest"),
            answer=counted,
            errors=ERRORS,
        ),
        f"GET {one}": operation("Tell a response again", answer=response, errors=ERRORS),
        f"DELETE {one}": operation("Forget a response", answer=record(deleted), errors=ERRORS),
        f"POST {one}/cancel": operation("End a response", answer=response, errors=ERRORS),
        f"GET {one}/input_items": operation(
            "List what a response answers", answer=_page(), errors=ERRORS
        ),
    }


def _request() -> Schema:
    form = {"type": one_of("text", "json_object", "json_schema"), "schema": OBJECT, "name": TEXT}
    return request(
        {"model": MODEL},
        {
            **sampling(),
            **shared(),
            "input": either(TEXT, listed(OBJECT)),
            "instructions": TEXT,
            "previous_response_id": TEXT,
            "max_output_tokens": POSITIVE,
            "max_tool_calls": COUNT,
            "stop": either(TEXT, listed(TEXT, maxItems=MOST_STOPS)),
            "stream": FLAG,
            "store": FLAG,
            "background": FLAG,
            "include": listed(one_of(*INCLUDED)),
            "metadata": {"type": "object", "additionalProperties": TEXT},
            "reasoning": request({}, {"effort": one_of(*EFFORTS), "summary": one_of(*SUMMARIES)}),
            "text": request({}, {"format": request({}, form), "verbosity": one_of(*VERBOSITIES)}),
            "tools": listed(OBJECT),
            "tool_choice": either(one_of("none", "auto", "required"), OBJECT),
            "parallel_tool_calls": FLAG,
            "top_logprobs": {"type": "integer", "minimum": 0, "maximum": MOST_TOP},
            "truncation": one_of(*TRUNCATIONS),
        },
    )


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
