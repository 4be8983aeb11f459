"""Ollama's chat, generate and embeddings as OpenAPI's operations and schemas."""

from __future__ import annotations

from localrun.chat.thinking import EFFORTS
from localrun.engine.params import MOST_TOP
from localrun.server.openapi.words import (
    COUNT,
    FLAG,
    MODEL,
    NUMBER,
    OBJECT,
    TEXT,
    TIME,
    TOKEN,
    WHOLE,
    Operation,
    Schema,
    either,
    listed,
    one_of,
    operation,
    record,
    ref,
    request,
    sampling,
)

LINES = "application/x-ndjson"


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    return {
        "Error": record({"error": TEXT, "code": TEXT}, {"hint": TEXT}),
        "Options": request(
            {},
            {
                **sampling(),
                "num_predict": WHOLE,
                "num_ctx": COUNT,
                "num_keep": {"type": "integer", "minimum": -1},
                "stop": either(TEXT, listed(TEXT)),
            },
        ),
        "OllamaChatRequest": request({"model": MODEL}, _common() | _chat()),
        "OllamaGenerateRequest": request({"model": MODEL}, _common() | _generate()),
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
            body=ref("OllamaChatRequest"),
            answer=ref("OllamaChat"),
            stream=LINES,
        ),
        "POST /api/generate": operation(
            "Answer a prompt, go on with a text, or fill a gap in it",
            body=ref("OllamaGenerateRequest"),
            answer=ref("OllamaAnswer"),
            stream=LINES,
        ),
        "POST /api/embed": operation(
            "Turn texts into vectors",
            body=request(
                {"model": MODEL},
                {"input": either(TEXT, listed(TEXT)), "dimensions": COUNT, **_embedding()},
            ),
            answer=record({"model": TEXT, "embeddings": listed(vector), **lasting}),
        ),
        "POST /api/embeddings": operation(
            "Turn a text into a vector",
            body=request({"model": MODEL}, {"prompt": TEXT, **_embedding()}),
            answer=record({"embedding": vector}),
        ),
    }


def _common() -> dict[str, Schema]:
    return {
        "stream": FLAG,
        "format": either(one_of("json", ""), OBJECT),
        "think": either(FLAG, one_of(*EFFORTS)),
        "options": ref("Options"),
        "keep_alive": either(TEXT, NUMBER),
        "truncate": FLAG,
        "shift": FLAG,
        "logprobs": FLAG,
        "top_logprobs": {"type": "integer", "minimum": 0, "maximum": MOST_TOP},
        "images": {"type": "array", "maxItems": 0},
    }


def _chat() -> dict[str, Schema]:
    return {"messages": listed(ref("Message")), "tools": listed(OBJECT)}


def _generate() -> dict[str, Schema]:
    texts = ("prompt", "suffix", "system", "template")
    return {**dict.fromkeys(texts, TEXT), "raw": FLAG, "context": listed(TOKEN)}


def _embedding() -> dict[str, Schema]:
    options = request({}, {"num_ctx": COUNT})
    return {"truncate": FLAG, "keep_alive": either(TEXT, NUMBER), "options": options}


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
        "eval_count": COUNT,
        "logprobs": listed(scored),
        "localrun": ref("Dropped"),
    }


def _tool_call() -> Schema:
    return record({"function": record({"name": TEXT, "arguments": OBJECT})})
