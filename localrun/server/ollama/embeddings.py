"""``/api/embed`` and its predecessor ``/api/embeddings``: Ollama's shapes on the core request.

What is too long is cut unless ``truncate`` is false. Without an input the model is loaded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from localrun.server.core.embedding import EmbeddingRequest
from localrun.server.parsing import limits
from localrun.server.parsing.options import keep_alive
from localrun.server.vectors import large_json, numbers

if TYPE_CHECKING:
    from fastapi.responses import Response

    from localrun.server.core.embedding import Embedding
    from localrun.server.parsing.fields import Fields, JsonObject

NANOSECONDS = 1e9


def parse_embed(fields: Fields) -> EmbeddingRequest:
    """Read the body of ``/api/embed``.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    return _request(fields, "input")


def parse_embed_one(fields: Fields) -> EmbeddingRequest:
    """Read the body of ``/api/embeddings``.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    if isinstance(fields.raw("prompt"), list):
        raise fields.wrong("prompt", "must be a string")
    return _request(fields, "prompt")


async def embed(request: EmbeddingRequest, embedding: Embedding) -> Response:
    """Answer ``/api/embed``.

    Raises:
        LocalrunError: the request cannot be served.
    """
    if not request.inputs:
        load_s = await _load(request, embedding)
        return await large_json(_body(request.model, [], 0, load_s=load_s, total_s=load_s))
    found = await embedding.embed(request)
    vectors = await asyncio.to_thread(lambda: [numbers(vector) for vector in found.vectors])
    return await large_json(
        _body(request.model, vectors, found.num_tokens, load_s=found.load_s, total_s=found.total_s)
    )


async def embed_one(request: EmbeddingRequest, embedding: Embedding) -> Response:
    """Answer ``/api/embeddings``.

    Raises:
        LocalrunError: the request cannot be served.
    """
    if not request.inputs:
        await _load(request, embedding)
        return await large_json({"embedding": []})
    found = await embedding.embed(request)
    return await large_json({"embedding": numbers(found.vectors[0])})


def _request(fields: Fields, name: str) -> EmbeddingRequest:
    inputs = fields.strings(name, most=limits.MOST_INPUTS)
    return EmbeddingRequest(
        model=limits.old_or_new_name(fields),
        inputs=() if inputs == ("",) else inputs,
        truncate=fields.boolean("truncate") is not False,
        dimensions=fields.integer("dimensions", 0) or None,
        num_ctx=limits.context_length(fields.inner("options"), 0),
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
