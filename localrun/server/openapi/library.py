"""OpenAPI description of Ollama's endpoints that manage and move models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.server.ollama.fields import NAMED_MODEL
from localrun.server.ollama.library import COPY, SHOW
from localrun.server.ollama.transfers import CREATE, TRANSFER
from localrun.server.openapi.operation import Operation, components, operation
from localrun.server.parsing.json_schema import (
    ANYTHING,
    COUNT,
    FLAG,
    OBJECT,
    TEXT,
    TIME,
    WHOLE,
    Schema,
    listed,
    maybe,
    record,
    ref,
)

if TYPE_CHECKING:
    from localrun.server.parsing.table import Table

LINES = "application/x-ndjson"
DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    details = ("parent_model", "format", "family", "parameter_size", "quantization_level")
    return {
        "Details": record({**dict.fromkeys(details, TEXT), "families": listed(TEXT)}),
        "StoredModel": record({**_model(), "modified_at": TIME, "details": ref("Details")}),
        "RunningModel": record(
            {
                **_model(),
                "size_vram": COUNT,
                "details": OBJECT,
                "expires_at": TIME,
                "context_length": COUNT,
                "num_open": COUNT,
                "shared_with": ANYTHING,
                "stays_for_ever": FLAG,
            }
        ),
        "Shown": _shown(),
        **components(NAMED_MODEL, CREATE),
        "Progress": record(
            {},
            {
                "status": TEXT,
                "digest": TEXT,
                "total": COUNT,
                "completed": COUNT,
                "draft": record({"name": TEXT, "size_bytes": COUNT, "is_here": FLAG}),
            },
        ),
    }


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    tags = operation("List models", answer=record({"models": listed(ref("StoredModel"))}))
    version = record({"version": TEXT, "localrun": TEXT, "pid": WHOLE, "device": TEXT})
    cloud = record({"cloud": record({"disabled": FLAG, "source": TEXT})})
    uploaded = operation("Upload a blob", status=201)
    uploaded["responses"]["200"] = {"description": "the blob was stored already"}
    uploaded["requestBody"] = {"content": {"application/octet-stream": {}}}
    return {
        "GET /api/version": operation("Return the version", answer=version),
        "GET /api/status": operation("Report that there is no cloud", answer=cloud),
        "POST /api/me": _refused("Report that nobody is signed in"),
        "POST /api/signout": _refused("Report that nobody was signed in"),
        "GET /api/tags": tags,
        "GET /api/ps": operation(
            "List loaded models", answer=record({"models": listed(ref("RunningModel"))})
        ),
        "POST /api/show": operation(
            "Describe a model",
            body=SHOW,
            answer=ref("Shown"),
        ),
        "POST /api/copy": operation("Copy a model to another name", body=COPY),
        "DELETE /api/delete": operation("Remove a model", body=NAMED_MODEL),
        "POST /api/pull": _job("Download a model", TRANSFER),
        "POST /api/push": _job("Upload a model", TRANSFER),
        "POST /api/create": _job("Create a model", CREATE),
        "HEAD /api/blobs/{digest}": operation("Report whether a blob is stored"),
        "POST /api/blobs/{digest}": uploaded,
    }


def _job(summary: str, body: Table) -> Operation:
    return operation(summary, body=body, answer=ref("Progress"), stream=LINES)


def _model() -> dict[str, Schema]:
    return {"name": TEXT, "model": TEXT, "size": COUNT, "digest": DIGEST}


def _shown() -> Schema:
    tensor = record({"name": TEXT, "type": TEXT, "shape": listed(COUNT)})
    return record(
        {
            "modelfile": TEXT,
            "template": TEXT,
            "details": ref("Details"),
            "model_info": OBJECT,
            "capabilities": listed(TEXT),
            "modified_at": TIME,
        },
        {
            "license": TEXT,
            "parameters": TEXT,
            "system": TEXT,
            "messages": listed(record({"role": TEXT, "content": maybe(TEXT)})),
            "tensors": listed(tensor),
        },
    )


def _refused(summary: str) -> Operation:
    """Return an operation that always fails."""
    refused = operation(summary)
    del refused["responses"]["200"]
    return refused
