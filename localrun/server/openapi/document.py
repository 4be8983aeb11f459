"""OpenAPI document of the server, ``/openapi.json``.

FastAPI describes the paths and their parameters; it serves no request, since its import takes
longer than the rest of the server's start. The routes parse their bodies without it: requests are
described by the field tables of their parsers, responses by hand here, and tests compare both with
the running server. The document is built on request.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from localrun import __version__
from localrun.server.openapi import (
    anthropic,
    batches,
    chats,
    library,
    llamacpp,
    ollama,
    openai,
    own,
    page,
    responses,
    texts,
    transcription,
)
from localrun.server.openapi.operation import Operation, operation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.server.parsing.json_schema import Schema
    from localrun.server.routing.routes import Route

VERSION = "3.1.0"
NAMING = (
    openai,
    responses,
    texts,
    transcription,
    llamacpp,
    ollama,
    library,
    anthropic,
    batches,
    chats,
)
PARTS = (*NAMING, own, page)
KEYS: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
JSON_BODY: Schema = {"content": {"application/json": {"schema": {"type": "object"}}}}
WITH_BODY = frozenset({"post", "put", "patch"})


def document(routes: Iterable[Route]) -> bytes:
    """Return the document of the routes as JSON."""
    known = {name: described for part in PARTS for name, described in part.operations().items()}
    named = {name: schema for part in NAMING for name, schema in part.schemas().items()}
    paths: dict[str, dict[str, Operation]] = {}
    for path, methods in _paths(routes).items():
        paths[path] = {
            method: _operation(method, path, route, known) for method, route in methods.items()
        }
    body: dict[str, Any] = {
        "openapi": VERSION,
        "info": {"title": "localrun", "version": __version__},
        "paths": paths,
        "security": [{}, *({name: []} for name in KEYS)],  # keys are optional
        "components": {"schemas": named, "securitySchemes": KEYS},
    }
    return json.dumps(body).encode()


def _paths(routes: Iterable[Route]) -> dict[str, dict[str, Operation]]:
    """Return FastAPI's description of the routes, by path and method."""
    app = FastAPI(openapi_url=None, telemetry={"tracing": False, "metrics": False, "logs": False})
    for route in routes:
        app.add_api_route(route.path, route.handler, methods=[route.method])
    paths: dict[str, dict[str, Operation]] = app.openapi()["paths"]
    return paths


def _operation(method: str, path: str, route: Operation, known: dict[str, Operation]) -> Operation:
    """Return the description of a route, with the parameters of its path."""
    operation_of = known.get(f"{method.upper()} {path}") or _undescribed(method, path, known)
    described = copy.deepcopy(operation_of)
    described["operationId"] = f"{method} {path}"
    if route.get("parameters"):
        described["parameters"] = route["parameters"]
    return described


def _undescribed(method: str, path: str, known: dict[str, Operation]) -> Operation:
    """Return the operation of a HEAD as that of its GET, and a placeholder for another method."""
    described = operation(known.get(f"GET {path}", {}).get("summary", path))
    if method in WITH_BODY:
        described["requestBody"] = JSON_BODY
    if method != "head":
        described["responses"]["default"] = {"description": "an answer"}
    return described
