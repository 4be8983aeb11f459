"""Health, figures and localrun's own endpoints as OpenAPI's operations."""

from __future__ import annotations

from localrun.server.openapi.words import (
    COUNT,
    FLAG,
    OBJECT,
    TEXT,
    Operation,
    Schema,
    listed,
    maybe,
    operation,
    record,
    request,
)


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    status = record({"status": TEXT})
    healthy = operation("Tell that the server runs", answer=status)
    explained = record(
        {
            "name": TEXT,
            "context": COUNT,
            "memory": OBJECT,
            "threads": COUNT,
            "settings": listed(OBJECT),
            "plan": maybe(OBJECT),
        }
    )
    loading = request({"model": TEXT}, {"pin": FLAG, "num_ctx": COUNT})
    return {
        "GET /": _text("Greet"),
        "GET /health": healthy,
        "GET /healthz": healthy,
        "GET /readyz": _ready(status),
        "GET /metrics": _text("Tell the server's figures, for Prometheus"),
        "GET /openapi.json": operation("Tell this document", answer=OBJECT),
        "GET /api/localrun/why": operation("Tell why a model is set up so", answer=explained),
        "GET /api/localrun/ps": operation(
            "List the models that are loaded, wanted or failing",
            answer=record({"models": listed(OBJECT), "waiting": COUNT}),
        ),
        "POST /api/localrun/load": operation(
            "Load a model, maybe for good, and tell how far it is",
            body=loading,
            stream="application/x-ndjson",
        ),
        "POST /api/localrun/removed": operation(
            "End what is loaded of models that were removed",
            body=request({"models": listed(TEXT)}, {}),
            answer=record({"unloaded": listed(TEXT)}),
        ),
        "POST /api/localrun/renamed": operation(
            "Carry what is loaded of a model along to its new name",
            body=request({"source": TEXT, "target": TEXT}, {}),
            answer=record({"renamed": listed(TEXT)}),
        ),
        "POST /api/localrun/shutdown": operation("End the server", answer=status),
    }


def _ready(status: Schema) -> Operation:
    found = operation("Tell whether the server takes requests", answer=status)
    leaving = {"description": "it leaves", "content": {"application/json": {"schema": status}}}
    found["responses"]["503"] = leaving
    return found


def _text(summary: str) -> Operation:
    found = operation(summary)
    found["responses"]["200"]["content"] = {"text/plain": {"schema": TEXT}}
    return found
