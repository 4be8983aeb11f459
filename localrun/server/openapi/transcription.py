"""OpenAPI description of OpenAI's transcriptions and translations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.server.openapi.operation import Operation, operation
from localrun.server.parsing.json_schema import (
    ANYTHING,
    COUNT,
    NUMBER,
    TEXT,
    Schema,
    listed,
    maybe,
    one_of,
    record,
    ref,
)
from localrun.server.transcription.fields import TRANSCRIPTION, TRANSLATION

if TYPE_CHECKING:
    from localrun.server.parsing.table import Table

ERRORS = "OpenAIError"
EVENTS = "text/event-stream"


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    usage = record(
        {"type": one_of("tokens", "duration")},
        {
            **dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), COUNT),
            "seconds": NUMBER,
        },
    )
    token = record({"token": TEXT, "logprob": maybe(NUMBER), "bytes": listed(COUNT)})
    numbers = ("start", "end", "temperature", "compression_ratio")
    segment = record(
        {
            **dict.fromkeys(("id", "seek"), COUNT),
            **dict.fromkeys(numbers, NUMBER),
            "text": TEXT,
            "tokens": listed(COUNT),
            "avg_logprob": maybe(NUMBER),
            "no_speech_prob": {"type": "null"},
        }
    )
    verbose = {
        "task": one_of("transcribe", "translate"),
        "language": TEXT,
        "duration": NUMBER,
        "segments": listed(segment),
    }
    return {
        "Transcription": record(
            {"text": TEXT, "usage": usage}, {"logprobs": listed(token), **verbose}
        )
    }


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    return {
        "POST /v1/audio/transcriptions": _operation(
            "Write down what is said in a sound", TRANSCRIPTION, stream=EVENTS
        ),
        "POST /v1/audio/translations": _operation(
            "Write down in English what is said in a sound", TRANSLATION
        ),
    }


def _operation(summary: str, form: Table, stream: str | None = None) -> Operation:
    made = operation(summary, answer=ref("Transcription"), stream=stream, errors=ERRORS)
    made["responses"]["200"]["content"] |= {"text/plain": {"schema": ANYTHING}, "text/vtt": {}}
    schema = form.schema()
    schema["required"] = ["file", *schema.get("required", [])]
    made["requestBody"] = {
        "required": True,
        "content": {"multipart/form-data": {"schema": schema}},
    }
    return made
