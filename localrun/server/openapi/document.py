"""OpenAPI document of the server, ``/openapi.json``.

The routes parse their bodies without FastAPI, which therefore knows their paths only. Requests
are described by the field tables of their parsers; responses are described by hand here, and
tests compare them with the running server. The document is built on request.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from localrun import __version__
from localrun.server.openapi import (
    anthropic,
    library,
    llamacpp,
    ollama,
    openai,
    own,
    responses,
    texts,
)
from localrun.server.openapi.operation import Operation, operation

if TYPE_CHECKING:
    from fastapi import FastAPI

    from localrun.server.parsing.json_schema import Schema

VERSION = "3.1.0"
NAMING = (openai, responses, texts, llamacpp, ollama, library, anthropic)
PARTS = (*NAMING, own)
KEYS: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
JSON_BODY: Schema = {"content": {"application/json": {"schema": {"type": "object"}}}}
WITH_BODY = frozenset({"post", "put", "patch"})


def document(app: FastAPI) -> bytes:
    """Return the document of an application as JSON."""
    known = {name: described for part in PARTS for name, described in part.operations().items()}
    named = {name: schema for part in NAMING for name, schema in part.schemas().items()}
    paths: dict[str, dict[str, Operation]] = {}
    for path, methods in app.openapi()["paths"].items():
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
