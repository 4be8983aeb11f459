"""``/openapi.json``: what the server takes and answers.

The routes read their bodies by hand, so FastAPI knows their paths and nothing else: what
stands here is written beside them, and tests hold it against the running server. It is
built when somebody asks for it.
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
from localrun.server.openapi.words import Operation, Schema, operation

if TYPE_CHECKING:
    from fastapi import FastAPI

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
    known = {name: found for part in PARTS for name, found in part.operations().items()}
    named = {name: schema for part in NAMING for name, schema in part.schemas().items()}
    paths: dict[str, dict[str, Operation]] = {}
    for path, methods in app.openapi()["paths"].items():
        paths[path] = {
            method: _operation(method, path, found, known) for method, found in methods.items()
        }
    body: dict[str, Any] = {
        "openapi": VERSION,
        "info": {"title": "localrun", "version": __version__},
        "paths": paths,
        "security": [{}, *({name: []} for name in KEYS)],  # where the server asks for a key
        "components": {"schemas": named, "securitySchemes": KEYS},
    }
    return json.dumps(body).encode()


def _operation(method: str, path: str, found: Operation, known: dict[str, Operation]) -> Operation:
    """Return what is known of a route; of one that nobody described, its place."""
    told = copy.deepcopy(known.get(f"{method.upper()} {path}") or _same(method, path, known))
    told["operationId"] = f"{method} {path}"
    if found.get("parameters"):
        told["parameters"] = found["parameters"]
    return told


def _same(method: str, path: str, known: dict[str, Operation]) -> Operation:
    """Return the operation of a HEAD as that of its GET, without a body."""
    told = operation(known.get(f"GET {path}", {}).get("summary", path))
    if method in WITH_BODY:
        told["requestBody"] = JSON_BODY
    if method != "head":
        told["responses"]["default"] = {"description": "an answer"}
    return told
