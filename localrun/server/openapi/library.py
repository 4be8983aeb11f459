"""Ollama's endpoints that look after models, as OpenAPI's operations and schemas."""

from __future__ import annotations

from localrun.server.openapi.words import (
    ANYTHING,
    COUNT,
    FLAG,
    MODEL,
    OBJECT,
    TEXT,
    TIME,
    WHOLE,
    Operation,
    Schema,
    listed,
    maybe,
    operation,
    record,
    ref,
    request,
)

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
        "NamedModel": request({"model": MODEL}, {"name": TEXT}),
        "Progress": record(
            {}, {"status": TEXT, "digest": TEXT, "total": COUNT, "completed": COUNT}
        ),
        "CreateRequest": _create_request(),
    }


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    transfer = request({"model": MODEL}, {"name": TEXT, "insecure": FLAG, "stream": FLAG})
    tags = operation("List models", answer=record({"models": listed(ref("StoredModel"))}))
    version = record({"version": TEXT, "localrun": TEXT, "pid": WHOLE, "device": TEXT})
    cloud = record({"cloud": record({"disabled": FLAG, "source": TEXT})})
    copied = request({"source": MODEL, "destination": TEXT}, {})
    uploaded = operation("Upload a file", status=201)
    uploaded["responses"]["200"] = {"description": "it was here already"}
    uploaded["requestBody"] = {"content": {"application/octet-stream": {}}}
    return {
        "GET /api/version": operation("Tell the version", answer=version),
        "GET /api/status": operation("Tell that there is no cloud", answer=cloud),
        "POST /api/me": _refused("Tell that nobody is signed in"),
        "POST /api/signout": _refused("Tell that nobody was signed in"),
        "GET /api/tags": tags,
        "GET /api/ps": operation(
            "List loaded models", answer=record({"models": listed(ref("RunningModel"))})
        ),
        "POST /api/show": operation(
            "Tell all of a model",
            body=request({"model": MODEL}, {"name": TEXT, "verbose": FLAG}),
            answer=ref("Shown"),
        ),
        "POST /api/copy": operation("Give a model another name", body=copied),
        "DELETE /api/delete": operation("Remove a model", body=ref("NamedModel")),
        "POST /api/pull": _job("Download a model", transfer),
        "POST /api/push": _job("Upload a model", transfer),
        "POST /api/create": _job("Create a model", ref("CreateRequest")),
        "HEAD /api/blobs/{digest}": operation("Tell whether a file is here"),
        "POST /api/blobs/{digest}": uploaded,
    }


def _job(summary: str, body: Schema) -> Operation:
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


def _create_request() -> Schema:
    digests = {"type": "object", "additionalProperties": TEXT}
    texts = ("name", "from", "modelfile", "template", "system", "quantize", "renderer", "parser")
    return request(
        {"model": MODEL},
        {
            **dict.fromkeys(texts, TEXT),
            "files": digests,
            "adapters": digests,
            "draft_files": digests,
            "draft_quantize": TEXT,
            "info": OBJECT,
            "license": {"anyOf": [TEXT, listed(TEXT)]},
            "parameters": OBJECT,
            "messages": listed(OBJECT),
            "stream": FLAG,
        },
    )


def _refused(summary: str) -> Operation:
    """Return an operation that only fails."""
    found = operation(summary)
    del found["responses"]["200"]
    return found
