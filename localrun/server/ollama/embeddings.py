"""``/api/embed`` and its predecessor ``/api/embeddings``: Ollama's requests and answers.

Too long inputs are cut unless ``truncate`` is false. A request without input loads the model.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from localrun.server.core.embedding import EmbeddingRequest
from localrun.server.ollama.fields import MODEL, MODEL_ROWS, TRUNCATE
from localrun.server.parsing.limits import MAX_INPUTS
from localrun.server.parsing.options import KEEP_ALIVE, context_length
from localrun.server.parsing.table import Table, group, integer, strings, text
from localrun.server.vectors import large_json, numbers

if TYPE_CHECKING:
    from starlette.responses import Response

    from localrun.runner.messages import JsonObject
    from localrun.server.core.embedding import Embedding
    from localrun.server.parsing.fields import Fields
    from localrun.server.parsing.table import Values

NANOSECONDS = 1e9


def parse_embed(fields: Fields) -> EmbeddingRequest:
    """Parse the body of ``/api/embed``.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    values = EMBED.read(fields)
    return _request(values, values[_INPUT])


def parse_embed_one(fields: Fields) -> EmbeddingRequest:
    """Parse the body of ``/api/embeddings``.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    values = EMBEDDINGS.read(fields)
    prompt = values[_PROMPT]
    return _request(values, () if prompt is None else (prompt,))


async def embed(request: EmbeddingRequest, embedding: Embedding) -> Response:
    """Answer ``/api/embed``.

    Raises:
        LocalrunError: the request cannot be served.
    """
    if not request.inputs:
        load_s = await _load(request, embedding)
        return await large_json(_body(request.model, [], 0, load_s=load_s, total_s=load_s))
    embedded = await embedding.embed(request)
    vectors = await asyncio.to_thread(lambda: [numbers(vector) for vector in embedded.vectors])
    load_s, total_s = embedded.load_s, embedded.total_s
    return await large_json(
        _body(request.model, vectors, embedded.num_tokens, load_s=load_s, total_s=total_s)
    )


async def embed_one(request: EmbeddingRequest, embedding: Embedding) -> Response:
    """Answer ``/api/embeddings``.

    Raises:
        LocalrunError: the request cannot be served.
    """
    if not request.inputs:
        await _load(request, embedding)
        return await large_json({"embedding": []})
    embedded = await embedding.embed(request)
    return await large_json({"embedding": numbers(embedded.vectors[0])})


def _request(values: Values, inputs: tuple[str, ...]) -> EmbeddingRequest:
    return EmbeddingRequest(
        model=values[MODEL],
        inputs=() if inputs == ("",) else inputs,
        truncate=values[TRUNCATE] is not False,
        dimensions=values[_DIMENSIONS] or None,
        num_ctx=values[_OPTIONS][_NUM_CTX],
        keep_alive=values[KEEP_ALIVE],
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


_INPUT, _PROMPT = strings("input", most=MAX_INPUTS), text("prompt")
_DIMENSIONS = integer("dimensions", 0)
_NUM_CTX = context_length(0)
_OPTIONS = group("options", Table((_NUM_CTX,)))
_SHARED = (*MODEL_ROWS, TRUNCATE, _DIMENSIONS, _OPTIONS, KEEP_ALIVE)
EMBED = Table((_INPUT, *_SHARED))
EMBEDDINGS = Table((_PROMPT, *_SHARED))
