"""``/api/embed`` and its predecessor ``/api/embeddings``: Ollama's shapes on the core request.

What is too long is cut unless ``truncate`` is false. Without an input the model is loaded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from localrun.server.embedding import EmbeddingRequest
from localrun.server.options import keep_alive
from localrun.server.vectors import large_json, numbers

if TYPE_CHECKING:
    from fastapi.responses import Response

    from localrun.server.embedding import Embedding
    from localrun.server.fields import Fields, JsonObject

NANOSECONDS = 1e9


async def embed(fields: Fields, embedding: Embedding) -> Response:
    """Answer ``/api/embed``.

    Raises:
        LocalrunError: a field is wrong, or the request cannot be served.
    """
    request = _request(fields, "input")
    if not request.inputs:
        load_s = await _load(request, embedding)
        return await large_json(_body(request.model, [], 0, load_s=load_s, total_s=load_s))
    found = await embedding.embed(request)
    vectors = await asyncio.to_thread(lambda: [numbers(vector) for vector in found.vectors])
    return await large_json(
        _body(request.model, vectors, found.num_tokens, load_s=found.load_s, total_s=found.total_s)
    )


async def embed_one(fields: Fields, embedding: Embedding) -> Response:
    """Answer ``/api/embeddings``.

    Raises:
        LocalrunError: a field is wrong, or the request cannot be served.
    """
    if isinstance(fields.raw("prompt"), list):
        raise fields.wrong("prompt", "must be a string")
    request = _request(fields, "prompt")
    if not request.inputs:
        await _load(request, embedding)
        return await large_json({"embedding": []})
    found = await embedding.embed(request)
    return await large_json({"embedding": numbers(found.vectors[0])})


def _request(fields: Fields, name: str) -> EmbeddingRequest:
    inputs = fields.strings(name)
    return EmbeddingRequest(
        model=fields.text("model") or fields.text("name") or fields.required_text("model"),
        inputs=() if inputs == ("",) else inputs,
        truncate=fields.boolean("truncate") is not False,
        dimensions=fields.integer("dimensions", 0) or None,
        num_ctx=fields.inner("options").integer("num_ctx", 0) or None,
        keep_alive=keep_alive(fields),
    )


async def _load(request: EmbeddingRequest, embedding: Embedding) -> float:
    return await embedding.load(
        request.model, num_ctx=request.num_ctx, keep_alive=request.keep_alive
    )


def _body(
    model: str, vectors: list[list[float]], num_tokens: int, *, load_s: float, total_s: float
) -> JsonObject:
    return {
        "model": model,
        "embeddings": vectors,
        "total_duration": int(total_s * NANOSECONDS),
        "load_duration": int(load_s * NANOSECONDS),
        "prompt_eval_count": num_tokens,
    }
