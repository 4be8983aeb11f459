"""``/v1/rerank``: the shapes of Jina and Cohere on the core request.

``documents`` are texts, or objects with a ``text``. Scores are between 0 and 1, as both
services give them; ``raw_scores`` asks for what the model says instead.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.server.core.embedding import RankRequest
from localrun.server.parsing import limits
from localrun.server.parsing.options import keep_alive
from localrun.server.vectors import large_json

if TYPE_CHECKING:
    from fastapi.responses import Response

    from localrun.server.core.embedding import Embedding, Ranked
    from localrun.server.parsing.fields import Fields, JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankCall:
    """A parsed request."""

    request: RankRequest
    top_n: int | None
    return_documents: bool


def parse_rerank(fields: Fields) -> RerankCall:
    """Read the body.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    request = RankRequest(
        model=limits.model_name(fields),
        query=fields.required_text("query"),
        documents=_documents(fields),
        truncate=fields.boolean("truncate") or False,
        raw_scores=fields.boolean("raw_scores") or False,
        num_ctx=fields.integer("num_ctx", 1),
        keep_alive=keep_alive(fields),
    )
    return RerankCall(
        request=request,
        top_n=fields.integer("top_n", 1),
        return_documents=fields.boolean("return_documents") or False,
    )


async def rerank(call: RerankCall, embedding: Embedding) -> Response:
    """Return the answer."""
    return await large_json(_body(call, await embedding.rank(call.request)))


def _body(call: RerankCall, ranked: Ranked) -> JsonObject:
    best_first = sorted(enumerate(ranked.scores), key=lambda pair: -pair[1])
    results: list[JsonObject] = []
    for index, score in best_first[: call.top_n]:
        result: JsonObject = {"index": index, "relevance_score": score}
        if call.return_documents:
            result["document"] = {"text": call.request.documents[index]}
        results.append(result)
    return {
        "id": f"rerank-{secrets.token_hex(12)}",
        "object": "list",
        "model": call.request.model,
        "results": results,
        "usage": {"prompt_tokens": ranked.num_tokens, "total_tokens": ranked.num_tokens},
    }


def _documents(fields: Fields) -> tuple[str, ...]:
    value = fields.raw("documents")
    if not isinstance(value, list) or not value:
        raise fields.wrong("documents", "must be a list of texts")
    if len(value) > limits.MOST_INPUTS:
        raise fields.wrong("documents", f"has more than {limits.MOST_INPUTS} entries")
    return tuple(_document(fields, one, index) for index, one in enumerate(value))


def _document(fields: Fields, one: object, index: int) -> str:
    text = one.get("text") if isinstance(one, dict) else one
    if not isinstance(text, str):
        raise fields.wrong(f"documents[{index}]", "must be a text, or an object with a text")
    return text
