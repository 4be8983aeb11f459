"""``/v1/embeddings``: OpenAI's shapes on the core request.

``input`` is a text, a list of texts, a list of token ids, or a list of such lists.
``user`` changes nothing. Beyond OpenAI: ``truncate`` and ``pooling``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.engine.params import Pooling
from localrun.server.core.embedding import EmbeddingRequest
from localrun.server.parsing import limits
from localrun.server.parsing.options import keep_alive
from localrun.server.vectors import in_base64, large_json, numbers

if TYPE_CHECKING:
    from fastapi.responses import Response

    from localrun.server.core.embedding import Embedded, Embedding
    from localrun.server.parsing.fields import Fields, JsonObject

FORMATS = ("float", "base64")
LARGEST_TOKEN = 2**31 - 1
Input = str | tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingCall:
    """A parsed request."""

    request: EmbeddingRequest
    encoding: str


def parse_embeddings(fields: Fields) -> EmbeddingCall:
    """Read the body.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    encoding = fields.text("encoding_format") or "float"
    if encoding not in FORMATS:
        raise fields.wrong("encoding_format", "must be float or base64")
    request = EmbeddingRequest(
        model=limits.model_name(fields),
        inputs=_inputs(fields),
        pooling=_pooling(fields),
        truncate=fields.boolean("truncate") or False,
        dimensions=fields.integer("dimensions", 1),
        num_ctx=limits.context_length(fields),
        keep_alive=keep_alive(fields),
    )
    return EmbeddingCall(request=request, encoding=encoding)


async def embed(call: EmbeddingCall, embedding: Embedding) -> Response:
    """Return the answer."""
    found = await embedding.embed(call.request)
    return await large_json(await asyncio.to_thread(_body, call, found))


def _body(call: EmbeddingCall, found: Embedded) -> JsonObject:
    written = in_base64 if call.encoding == "base64" else numbers
    data = [
        {"object": "embedding", "index": index, "embedding": written(vector)}
        for index, vector in enumerate(found.vectors)
    ]
    usage = {"prompt_tokens": found.num_tokens, "total_tokens": found.num_tokens}
    return {"object": "list", "data": data, "model": call.request.model, "usage": usage}


def _inputs(fields: Fields) -> tuple[Input, ...]:
    value = fields.raw("input")
    are_tokens = isinstance(value, list) and bool(value) and isinstance(value[0], int)
    listed: list[Any] = value if isinstance(value, list) and not are_tokens else [value]
    inputs = tuple(tuple(one) if isinstance(one, list) else one for one in listed)
    if not inputs or not all(_is_input(one) for one in inputs):
        raise fields.wrong("input", "must be a text, a list of texts, or token ids")
    if not all(inputs):
        raise fields.wrong("input", "must not be empty")
    if len(inputs) > limits.MOST_INPUTS:
        raise fields.wrong("input", f"has more than {limits.MOST_INPUTS} entries")
    return inputs


def _is_input(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple) and all(map(_is_token, value)))


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_TOKEN


def _pooling(fields: Fields) -> Pooling | None:
    name = fields.text("pooling")
    if name is None:
        return None
    if name not in set(Pooling) - {Pooling.RANK}:
        raise fields.wrong("pooling", "must be mean, cls or last")
    return Pooling(name)
