"""``/v1/rerank``: the request and the answer of Jina and Cohere around the core rank request.

``documents`` are texts, or objects with a ``text``. Scores are between 0 and 1, as in both
services; with ``raw_scores`` they are the model's own.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.server.core.embedding import RankRequest
from localrun.server.parsing.json_schema import TEXT, either, listed, record
from localrun.server.parsing.limits import MAX_INPUTS
from localrun.server.parsing.options import KEEP_ALIVE, MODEL
from localrun.server.parsing.table import Field, Table, flag, integer, required_text
from localrun.server.vectors import large_json

if TYPE_CHECKING:
    from starlette.responses import Response

    from localrun.runner.messages import JsonObject
    from localrun.server.core.embedding import Embedding, Ranked
    from localrun.server.parsing.fields import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankCall:
    """A parsed request."""

    request: RankRequest
    top_n: int | None
    return_documents: bool


def parse_rerank(fields: Fields) -> RerankCall:
    """Parse the body.

    Raises:
        UsageError: a field is wrong; the error names it.
    """
    values = RERANK.read(fields)
    request = RankRequest(
        model=values[MODEL],
        query=values[_QUERY],
        documents=values[_DOCUMENTS],
        truncate=values[_TRUNCATE] or False,
        raw_scores=values[_RAW_SCORES] or False,
        num_ctx=values[_NUM_CTX],
        keep_alive=values[KEEP_ALIVE],
    )
    return RerankCall(
        request=request,
        top_n=values[_TOP_N],
        return_documents=values[_RETURN_DOCUMENTS] or False,
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


def _documents(fields: Fields, name: str) -> tuple[str, ...]:
    documents = fields.raw(name)
    if not isinstance(documents, list) or not documents:
        raise fields.wrong(name, "must be a list of texts")
    if len(documents) > MAX_INPUTS:
        raise fields.wrong(name, f"has more than {MAX_INPUTS} entries")
    return tuple(_document(fields, item, index) for index, item in enumerate(documents))


def _document(fields: Fields, item: object, index: int) -> str:
    text = item.get("text") if isinstance(item, dict) else item
    if not isinstance(text, str):
        raise fields.wrong(f"documents[{index}]", "must be a text, or an object with a text")
    return text


_QUERY = required_text("query")
_DOCUMENTS = Field(
    "documents",
    _documents,
    listed(either(TEXT, record({"text": TEXT})), minItems=1, maxItems=MAX_INPUTS),
    is_required=True,
)
_TOP_N, _NUM_CTX = integer("top_n", 1), integer("num_ctx", 1)
_TRUNCATE, _RAW_SCORES = flag("truncate"), flag("raw_scores")
_RETURN_DOCUMENTS = flag("return_documents")
RERANK = Table(
    (
        MODEL,
        _QUERY,
        _DOCUMENTS,
        _TRUNCATE,
        _RAW_SCORES,
        _NUM_CTX,
        KEEP_ALIVE,
        _TOP_N,
        _RETURN_DOCUMENTS,
    ),
    component="RerankRequest",
)
