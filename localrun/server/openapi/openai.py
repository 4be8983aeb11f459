"""OpenAPI description of OpenAI's models, chat and completions."""

from __future__ import annotations

from localrun.server.openai.chat_request import CHAT
from localrun.server.openai.completion_request import COMPLETION
from localrun.server.openapi.operation import Operation, components, operation
from localrun.server.parsing.conversation import MESSAGE
from localrun.server.parsing.json_schema import (
    COUNT,
    NUMBER,
    TEXT,
    WHOLE,
    Schema,
    listed,
    maybe,
    one_of,
    record,
    ref,
)

EVENTS = "text/event-stream"
ERRORS = "OpenAIError"
DETAILS = ("reasoning_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens")
FINISHES = ("stop", "length", "tool_calls", "function_call", "cancelled")


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    return {
        **components(MESSAGE, CHAT, COMPLETION),
        ERRORS: record(
            {
                "error": record(
                    {"message": TEXT, "type": TEXT, "param": maybe(TEXT), "code": maybe(TEXT)}
                )
            }
        ),
        "OpenAIModel": record(
            {"id": TEXT, "object": one_of("model"), "created": WHOLE, "owned_by": TEXT}
        ),
        "Usage": record(
            {
                "prompt_tokens": COUNT,
                "completion_tokens": COUNT,
                "total_tokens": COUNT,
                "prompt_tokens_details": record({"cached_tokens": COUNT}),
            },
            {"completion_tokens_details": record({}, dict.fromkeys(DETAILS, COUNT))},
        ),
        "Timings": _timings(),
        "Dropped": record({"dropped_messages": COUNT, "dropped_tokens": COUNT}),
        "ChatCompletion": _chat_completion(),
        "Completion": _completion(),
    }


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    return {
        "GET /v1/models": operation(
            "List models",
            answer=record({"object": one_of("list"), "data": listed(ref("OpenAIModel"))}),
            errors=ERRORS,
        ),
        "GET /v1/models/{name}": operation(
            "Describe a model", answer=ref("OpenAIModel"), errors=ERRORS
        ),
        "POST /v1/chat/completions": operation(
            "Answer a conversation",
            body=CHAT,
            answer=ref("ChatCompletion"),
            stream=EVENTS,
            errors=ERRORS,
        ),
        "POST /v1/completions": operation(
            "Complete a text, or fill a gap in it",
            body=COMPLETION,
            answer=ref("Completion"),
            stream=EVENTS,
            errors=ERRORS,
        ),
    }


def _timings() -> Schema:
    kinds = ("prompt", "predicted")
    counts = {"cache_n": COUNT, **{f"{kind}_n": COUNT for kind in kinds}}
    rates = {
        f"{kind}_{unit}": NUMBER for kind in kinds for unit in ("ms", "per_token_ms", "per_second")
    }
    return record(counts | rates, {"draft_n": COUNT, "draft_n_accepted": COUNT})


def _chat_completion() -> Schema:
    function = record({"name": TEXT, "arguments": TEXT})
    call = record({"id": TEXT, "type": one_of("function"), "function": function})
    message = record(
        {"role": one_of("assistant"), "content": maybe(TEXT), "refusal": maybe(TEXT)},
        {
            "reasoning_content": TEXT,
            "tool_calls": listed(call, minItems=1),
            "function_call": function,
        },
    )
    token = {"token": TEXT, "logprob": NUMBER, "bytes": maybe(listed(COUNT))}
    scored = record({**token, "top_logprobs": listed(record(token))})
    scores = record({"content": maybe(listed(scored)), "refusal": {"type": "null"}})
    choice = record(
        {
            "index": COUNT,
            "message": message,
            "logprobs": maybe(scores),
            "finish_reason": one_of(*FINISHES),
        }
    )
    return _answer("chat.completion", choice)


def _completion() -> Schema:
    scores = record(
        {
            "tokens": listed(TEXT),
            "token_logprobs": listed(maybe(NUMBER)),
            "top_logprobs": listed(maybe({"type": "object", "additionalProperties": NUMBER})),
            "text_offset": listed(COUNT),
        }
    )
    choice = record(
        {
            "index": COUNT,
            "text": TEXT,
            "logprobs": maybe(scores),
            "finish_reason": one_of(*FINISHES),
        }
    )
    return _answer("text_completion", choice)


def _answer(kind: str, choice: Schema) -> Schema:
    return record(
        {
            "id": TEXT,
            "object": one_of(kind),
            "created": WHOLE,
            "model": TEXT,
            "system_fingerprint": TEXT,
            "choices": listed(choice, minItems=1),
            "usage": ref("Usage"),
            "timings": ref("Timings"),
        },
        {"localrun": ref("Dropped")},
    )
