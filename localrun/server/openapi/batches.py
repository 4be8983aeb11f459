"""OpenAPI description of OpenAI's files and batches."""

from __future__ import annotations

from localrun.server.batches.batch import BatchStatus
from localrun.server.batches.fields import BATCH
from localrun.server.batches.upload import PURPOSES
from localrun.server.openapi.operation import Operation, components, operation
from localrun.server.parsing.json_schema import (
    ANYTHING,
    COUNT,
    FLAG,
    OBJECT,
    TEXT,
    Schema,
    listed,
    maybe,
    one_of,
    record,
    ref,
)

ERRORS = "OpenAIError"
FORM: Schema = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "contentMediaType": "application/jsonl"},
        "purpose": one_of(*PURPOSES),
        "expires_after[anchor]": one_of("created_at"),
        "expires_after[seconds]": COUNT,
    },
}


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    return {**components(BATCH), "OpenAIFile": _file(), "OpenAIBatch": _batch()}


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    file, batch = ref("OpenAIFile"), ref("OpenAIBatch")
    upload = operation("Upload the input of a batch", answer=file, errors=ERRORS)
    upload["requestBody"] = {
        "required": True,
        "content": {"multipart/form-data": {"schema": FORM}},
    }
    content = operation("Return the content of a file", errors=ERRORS)
    content["responses"]["200"]["content"] = {"application/jsonl": {"schema": ANYTHING}}
    deleted = record({"id": TEXT, "object": one_of("file"), "deleted": FLAG})
    return {
        "POST /v1/files": upload,
        "GET /v1/files": operation("List the files", answer=_page(file), errors=ERRORS),
        "GET /v1/files/{file_id}": operation("Describe a file", answer=file, errors=ERRORS),
        "GET /v1/files/{file_id}/content": content,
        "DELETE /v1/files/{file_id}": operation("Remove a file", answer=deleted, errors=ERRORS),
        "POST /v1/batches": operation(
            "Answer the requests of a file while there is room",
            body=BATCH,
            answer=batch,
            errors=ERRORS,
        ),
        "GET /v1/batches": operation("List the batches", answer=_page(batch), errors=ERRORS),
        "GET /v1/batches/{batch_id}": operation("Describe a batch", answer=batch, errors=ERRORS),
        "POST /v1/batches/{batch_id}/cancel": operation(
            "Cancel a batch", answer=batch, errors=ERRORS
        ),
    }


def _page(item: Schema) -> Schema:
    return record(
        {
            "object": one_of("list"),
            "data": listed(item),
            "first_id": maybe(TEXT),
            "last_id": maybe(TEXT),
            "has_more": FLAG,
        }
    )


def _file() -> Schema:
    return record(
        {
            "id": TEXT,
            "object": one_of("file"),
            "filename": TEXT,
            "purpose": TEXT,
            "bytes": COUNT,
            "created_at": COUNT,
            "expires_at": maybe(COUNT),
            "status": TEXT,
        }
    )


def _batch() -> Schema:
    times = [f"{status.value}_at" for status in BatchStatus if status is not BatchStatus.VALIDATING]
    texts = ("id", "endpoint", "input_file_id", "completion_window")
    return record(
        {
            **dict.fromkeys(texts, TEXT),
            "object": one_of("batch"),
            "status": one_of(*(status.value for status in BatchStatus)),
            **dict.fromkeys(("model", "output_file_id", "error_file_id"), maybe(TEXT)),
            "errors": maybe(OBJECT),
            **dict.fromkeys(("created_at", "expires_at"), COUNT),
            **dict.fromkeys(times, maybe(COUNT)),
            "request_counts": record(dict.fromkeys(("total", "completed", "failed"), COUNT)),
            "usage": OBJECT,
            "metadata": maybe(OBJECT),
        }
    )
