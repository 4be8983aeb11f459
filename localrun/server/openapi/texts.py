"""Embeddings, ranks and tokens as OpenAPI's operations and schemas: what writes no answer."""

from __future__ import annotations

from localrun.server.embedding_routes import RERANK
from localrun.server.openapi.openai import ERRORS
from localrun.server.openapi.words import (
    COUNT,
    FLAG,
    MODEL,
    NUMBER,
    OBJECT,
    POSITIVE,
    TEXT,
    TOKEN,
    Operation,
    Schema,
    either,
    listed,
    one_of,
    operation,
    record,
    ref,
    request,
)


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    return {
        "EmbeddingRequest": _embedding_request(),
        "RerankRequest": _rerank_request(),
        "Ranking": _ranking(),
    }


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    rank = operation(
        "Rank documents", body=ref("RerankRequest"), answer=ref("Ranking"), errors=ERRORS
    )
    return {
        "POST /v1/embeddings": operation(
            "Turn texts into vectors",
            body=ref("EmbeddingRequest"),
            answer=_embeddings(),
            errors=ERRORS,
        ),
        **{f"POST {path}": rank for path in RERANK},
        **_token_operations(),
    }


def _token_operations() -> dict[str, Operation]:
    text = {"prompt": TEXT, "content": TEXT, "text": TEXT, "messages": listed(ref("Message"))}
    options = {
        "chat_template": TEXT,
        "tools": listed(OBJECT),
        "add_special_tokens": FLAG,
        "chat_template_kwargs": OBJECT,
        "add_generation_prompt": FLAG,
        "continue_final_message": FLAG,
        "return_token_strs": FLAG,
        "with_pieces": FLAG,
        "keep_alive": either(TEXT, NUMBER),
    }
    return _under_v1(text, options)


def _under_v1(text: dict[str, Schema], options: dict[str, Schema]) -> dict[str, Operation]:
    counted = {"count": COUNT, "max_model_len": POSITIVE, "tokens": listed(TOKEN)}
    written = record({"prompt": TEXT, "content": TEXT})
    return {
        "POST /v1/tokenize": operation(
            "Tell the tokens of a text or a conversation",
            body=request({"model": MODEL}, text | options),
            answer=record(counted, {"token_strs": listed(TEXT)}),
            errors=ERRORS,
        ),
        "POST /v1/detokenize": operation(
            "Tell the text of tokens",
            body=request({"model": MODEL, "tokens": listed(TOKEN)}, {}),
            answer=written,
            errors=ERRORS,
        ),
        "POST /v1/apply-template": operation(
            "Write the prompt of a conversation",
            body=request({"model": MODEL, "messages": listed(ref("Message"), minItems=1)}, options),
            answer=record({"prompt": TEXT, "count": COUNT}),
            errors=ERRORS,
        ),
    }


def _embedding_request() -> Schema:
    tokens = listed(TOKEN, minItems=1)
    text: Schema = {"type": "string", "minLength": 1}
    return request(
        {"model": MODEL, "input": either(text, tokens, listed(either(text, tokens), minItems=1))},
        {
            "encoding_format": one_of("float", "base64"),
            "dimensions": POSITIVE,
            "truncate": FLAG,
            "pooling": one_of("mean", "cls", "last"),
            "num_ctx": POSITIVE,
            "keep_alive": either(TEXT, NUMBER),
        },
    )


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


def _rerank_request() -> Schema:
    document = either(TEXT, record({"text": TEXT}))
    return request(
        {
            "model": MODEL,
            "query": {"type": "string", "minLength": 1},
            "documents": listed(document, minItems=1),
        },
        {
            "top_n": POSITIVE,
            "return_documents": FLAG,
            "raw_scores": FLAG,
            "truncate": FLAG,
            "num_ctx": POSITIVE,
            "keep_alive": either(TEXT, NUMBER),
        },
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
