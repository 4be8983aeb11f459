"""OpenAPI description of embeddings, reranking and tokens under ``/v1``."""

from __future__ import annotations

from localrun.server.embedding_routes import RERANK_PATHS
from localrun.server.openai.embeddings import EMBEDDING
from localrun.server.openai.rerank import RERANK
from localrun.server.openai.tokens import APPLY_TEMPLATE, DETOKENIZE, TOKENIZE
from localrun.server.openapi.openai import ERRORS
from localrun.server.openapi.operation import Operation, components, operation
from localrun.server.parsing.json_schema import (
    COUNT,
    NUMBER,
    POSITIVE,
    TEXT,
    TOKEN,
    Schema,
    either,
    listed,
    one_of,
    record,
    ref,
)


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    return {
        **components(EMBEDDING, RERANK),
        "Ranking": _ranking(),
    }


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    rank = operation("Rank documents", body=RERANK, answer=ref("Ranking"), errors=ERRORS)
    counted = {"count": COUNT, "max_model_len": POSITIVE, "tokens": listed(TOKEN)}
    return {
        "POST /v1/embeddings": operation(
            "Turn texts into vectors",
            body=EMBEDDING,
            answer=_embeddings(),
            errors=ERRORS,
        ),
        **{f"POST {path}": rank for path in RERANK_PATHS},
        "POST /v1/tokenize": operation(
            "Return the tokens of a text or a conversation",
            body=TOKENIZE,
            answer=record(counted, {"token_strs": listed(TEXT)}),
            errors=ERRORS,
        ),
        "POST /v1/detokenize": operation(
            "Return the text of tokens",
            body=DETOKENIZE,
            answer=record({"prompt": TEXT, "content": TEXT}),
            errors=ERRORS,
        ),
        "POST /v1/apply-template": operation(
            "Return the prompt of a conversation",
            body=APPLY_TEMPLATE,
            answer=record({"prompt": TEXT, "count": COUNT}),
            errors=ERRORS,
        ),
    }


def _embeddings() -> Schema:
    vector = record(
        {
            "object": one_of("embedding"),
            "index": COUNT,
            "embedding": either(TEXT, listed(NUMBER)),
        }
    )
    return record(
        {
            "object": one_of("list"),
            "data": listed(vector),
            "model": TEXT,
            "usage": record({"prompt_tokens": COUNT, "total_tokens": COUNT}),
        }
    )


def _ranking() -> Schema:
    result = record(
        {"index": COUNT, "relevance_score": NUMBER}, {"document": record({"text": TEXT})}
    )
    return record(
        {
            "id": TEXT,
            "object": one_of("list"),
            "model": TEXT,
            "results": listed(result),
            "usage": record({"prompt_tokens": COUNT, "total_tokens": COUNT}),
        }
    )
