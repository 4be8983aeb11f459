"""Embedding and reranking routes of all APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from localrun.server.ollama.embeddings import embed as embed_for_ollama
from localrun.server.ollama.embeddings import embed_one, parse_embed, parse_embed_one
from localrun.server.openai.embeddings import embed, parse_embeddings
from localrun.server.openai.rerank import parse_rerank, rerank
from localrun.server.parsing.requests import read, unless_disconnected
from localrun.server.routing.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from localrun.server.core.embedding import Embedding

RERANK_PATHS = ("/v1/rerank", "/v1/reranking", "/rerank", "/reranking")


def embedding_routes(embedding: Embedding) -> Routes:
    """Return the router."""
    router = Routes()

    @router.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        call = await read(request, parse_embeddings)
        return await _answer(request, embed(call, embedding))

    async def ranked(request: Request) -> Response:
        call = await read(request, parse_rerank)
        return await _answer(request, rerank(call, embedding))

    for path in RERANK_PATHS:
        router.post(path)(ranked)

    @router.post("/api/embed")
    async def ollama_embed(request: Request) -> Response:
        call = await read(request, parse_embed)
        return await _answer(request, embed_for_ollama(call, embedding))

    @router.post("/api/embeddings")
    async def ollama_embeddings(request: Request) -> Response:
        call = await read(request, parse_embed_one)
        return await _answer(request, embed_one(call, embedding))

    return router


async def _answer(request: Request, work: Awaitable[Response]) -> Response:
    return await unless_disconnected(request, work) or Response()  # empty: nobody reads it
