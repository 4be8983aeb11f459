"""OpenAPI description of health, metrics and localrun's own endpoints."""

from __future__ import annotations

from localrun.server.openapi.operation import Operation, operation
from localrun.server.own import LOAD, REMOVED, RENAMED
from localrun.server.parsing.json_schema import (
    COUNT,
    OBJECT,
    TEXT,
    Schema,
    listed,
    maybe,
    record,
)


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    status = record({"status": TEXT})
    healthy = operation("Report that the server runs", answer=status)
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
    return {
        "GET /": _text("Return a greeting"),
        "GET /health": healthy,
        "GET /healthz": healthy,
        "GET /readyz": _ready(status),
        "GET /metrics": _text("Return the server's metrics for Prometheus"),
        "GET /openapi.json": operation("Return this document", answer=OBJECT),
        "GET /api/localrun/why": operation("Explain the settings of a model", answer=explained),
        "GET /api/localrun/ps": operation(
            "List the models that are loaded, loading or failing",
            answer=record({"models": listed(OBJECT), "waiting": COUNT}),
        ),
        "POST /api/localrun/load": operation(
            "Load a model, optionally pin it, and report the progress",
            body=LOAD,
            stream="application/x-ndjson",
        ),
        "POST /api/localrun/removed": operation(
            "Unload models that were removed",
            body=REMOVED,
            answer=record({"unloaded": listed(TEXT)}),
        ),
        "POST /api/localrun/renamed": operation(
            "Rename a loaded model",
            body=RENAMED,
            answer=record({"renamed": listed(TEXT)}),
        ),
        "POST /api/localrun/shutdown": operation("Stop the server", answer=status),
    }


def _ready(status: Schema) -> Operation:
    described = operation("Report whether the server accepts requests", answer=status)
    leaving = {
        "description": "the server is stopping",
        "content": {"application/json": {"schema": status}},
    }
    described["responses"]["503"] = leaving
    return described


def _text(summary: str) -> Operation:
    described = operation(summary)
    described["responses"]["200"]["content"] = {"text/plain": {"schema": TEXT}}
    return described
