"""OpenAI's models, chat and completions as OpenAPI's operations and schemas."""

from __future__ import annotations

from localrun.chat.thinking import EFFORTS
from localrun.engine.params import MOST_TOP
from localrun.server.core.choices import MOST_CHOICES
from localrun.server.openai.chat import VERBOSITIES
from localrun.server.openai.fields import LENGTHS, STRONGEST_BIAS
from localrun.server.openapi.constraints import constraints
from localrun.server.openapi.words import (
    ANYTHING,
    COUNT,
    FLAG,
    MODEL,
    NUMBER,
    OBJECT,
    POSITIVE,
    TEXT,
    TOKEN,
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
from localrun.server.parsing.thinking import FORMATS

EVENTS = "text/event-stream"
ERRORS = "OpenAIError"
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
DETAILS = ("reasoning_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens")
FINISHES = ("stop", "length", "tool_calls", "function_call", "cancelled")


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    return {
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
        "Message": _message(),
        "ChatRequest": _chat_request(),
        "ChatCompletion": _chat_completion(),
        "CompletionRequest": _completion_request(),
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
            "Tell of a model", answer=ref("OpenAIModel"), errors=ERRORS
        ),
        "POST /v1/chat/completions": _operation(
            "Answer a conversation", "ChatRequest", ref("ChatCompletion"), stream=EVENTS
        ),
        "POST /v1/completions": _operation(
            "Go on with a text, or fill a gap in it",
            "CompletionRequest",
            ref("Completion"),
            stream=EVENTS,
        ),
    }


def _operation(summary: str, body: str, answer: Schema, *, stream: str | None = None) -> Operation:
    return operation(summary, body=ref(body), answer=answer, stream=stream, errors=ERRORS)


def _timings() -> Schema:
    kinds = ("prompt", "predicted")
    counts = {"cache_n": COUNT, **{f"{kind}_n": COUNT for kind in kinds}}
    rates = {
        f"{kind}_{unit}": NUMBER for kind in kinds for unit in ("ms", "per_token_ms", "per_second")
    }
    return record(counts | rates, {"draft_n": COUNT, "draft_n_accepted": COUNT})


def _content() -> Schema:
    part = record({"type": one_of("text", "input_text", "output_text"), "text": TEXT})
    return either(TEXT, listed(part))


def _message() -> Schema:
    function = request({"name": TEXT}, {"arguments": either(TEXT, OBJECT)})
    return request(
        {"role": one_of(*ROLES)},
        {
            "content": _content(),
            "reasoning_content": TEXT,
            "name": TEXT,
            "tool_calls": listed(record({"function": function}, {"id": ANYTHING})),
            "tool_call_id": TEXT,
        },
    )


def _common() -> dict[str, Schema]:
    """Return the fields that both kinds of completion take."""
    length = {"anyOf": [POSITIVE, {"const": -1}]}
    bias = {"type": "number", "minimum": -STRONGEST_BIAS, "maximum": STRONGEST_BIAS}
    names = {"pattern": "^[0-9]{1,9}$"}
    return {
        **sampling(),
        **shared(),
        **dict.fromkeys(LENGTHS, length),
        "min_tokens": COUNT,
        "repetition_penalty": sampling()["repeat_penalty"],
        "logit_bias": {"type": "object", "propertyNames": names, "additionalProperties": bias},
        "n": {"type": "integer", "minimum": 1, "maximum": MOST_CHOICES},
        "best_of": POSITIVE,
        "stop": either(TEXT, listed(TEXT, maxItems=MOST_STOPS)),
        "stream": FLAG,
        "stream_options": request({}, {"include_usage": FLAG, "include_obfuscation": FLAG}),
        **constraints(),
        "prediction": request({}, {"type": one_of("content"), "content": _content()}),
    }


def _chat_request() -> Schema:
    function = {"type": one_of("function"), "function": record({"name": TEXT})}
    choice = either(one_of("none", "auto", "required"), record(function), OBJECT)
    return request(
        {"model": MODEL, "messages": listed(ref("Message"), minItems=1)},
        {
            **_common(),
            "tools": listed(OBJECT),
            "tool_choice": choice,
            "parallel_tool_calls": FLAG,
            "functions": listed(OBJECT),
            "logprobs": FLAG,
            "top_logprobs": {"type": "integer", "minimum": 0, "maximum": MOST_TOP},
            "reasoning_effort": one_of(*EFFORTS),
            "reasoning_format": one_of(*FORMATS),
            "verbosity": one_of(*VERBOSITIES),
            "modalities": {"const": ["text"]},
            "chat_template": TEXT,
            "chat_template_kwargs": OBJECT,
            "add_generation_prompt": FLAG,
            "continue_final_message": FLAG,
        },
    )


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


def _completion_request() -> Schema:
    tokens = listed(TOKEN, minItems=1)
    prompts = either(TEXT, tokens, listed(either(TEXT, tokens), minItems=1))
    return request(
        {"model": MODEL, "prompt": prompts},
        {
            **_common(),
            **{name: {"anyOf": [COUNT, {"const": -1}]} for name in LENGTHS},
            "suffix": TEXT,
            "echo": FLAG,
            "logprobs": {"type": "integer", "minimum": 0, "maximum": MOST_TOP},
        },
    )


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
