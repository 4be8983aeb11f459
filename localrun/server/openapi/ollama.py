"""OpenAPI description of Ollama's chat, generate and embeddings."""

from __future__ import annotations

from localrun.server.ollama.call import CHAT, GENERATE, OPTIONS
from localrun.server.ollama.embeddings import EMBED, EMBEDDINGS
from localrun.server.openapi.operation import Operation, components, operation
from localrun.server.parsing.json_schema import (
    COUNT,
    FLAG,
    NUMBER,
    OBJECT,
    TEXT,
    TIME,
    TOKEN,
    Schema,
    listed,
    one_of,
    record,
    ref,
)

LINES = "application/x-ndjson"


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    return {
        "Error": record({"error": TEXT, "code": TEXT}, {"hint": TEXT}),
        **components(OPTIONS, CHAT, GENERATE),
        "OllamaChat": record(
            {
                **_frame(),
                "message": record(
                    {"role": one_of("assistant"), "content": TEXT},
                    {"thinking": TEXT, "tool_calls": listed(_tool_call(), minItems=1)},
                ),
            },
            _end(),
        ),
        "OllamaAnswer": record(
            {**_frame(), "response": TEXT},
            {"thinking": TEXT, "context": listed(TOKEN), **_end()},
        ),
    }


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    lasting = {"total_duration": COUNT, "load_duration": COUNT, "prompt_eval_count": COUNT}
    vector = listed(NUMBER)
    return {
        "POST /api/chat": operation(
            "Answer a conversation",
            body=CHAT,
            answer=ref("OllamaChat"),
            stream=LINES,
        ),
        "POST /api/generate": operation(
            "Answer a prompt, complete a text, or fill a gap in it",
            body=GENERATE,
            answer=ref("OllamaAnswer"),
            stream=LINES,
        ),
        "POST /api/embed": operation(
            "Turn texts into vectors",
            body=EMBED,
            answer=record({"model": TEXT, "embeddings": listed(vector), **lasting}),
        ),
        "POST /api/embeddings": operation(
            "Turn a text into a vector",
            body=EMBEDDINGS,
            answer=record({"embedding": vector}),
        ),
    }


def _frame() -> dict[str, Schema]:
    return {"model": TEXT, "created_at": TIME, "done": FLAG}


def _end() -> dict[str, Schema]:
    token = {"token": TEXT, "logprob": NUMBER, "bytes": listed(COUNT)}
    scored = record(token, {"top_logprobs": listed(record(token))})
    durations = ("total", "load", "prompt_eval", "eval")
    return {
        "done_reason": one_of("stop", "length", "load", "unload", "cancelled"),
        **{f"{name}_duration": COUNT for name in durations},
        "prompt_eval_count": COUNT,
        "prompt_eval_cached_count": COUNT,
        "eval_count": COUNT,
        "logprobs": listed(scored),
        "localrun": ref("Dropped"),
    }


def _tool_call() -> Schema:
    return record({"function": record({"name": TEXT, "arguments": OBJECT})})
