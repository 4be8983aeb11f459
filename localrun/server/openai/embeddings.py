"""``/v1/embeddings``: OpenAI's request and answer around the core embedding request.

``input`` is a text, a list of texts, a list of token ids, or a list of such lists.
``user`` has no effect. Beyond OpenAI: ``truncate`` and ``pooling``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.engine.params import Pooling
from localrun.server.core.embedding import EmbeddingRequest
from localrun.server.parsing.json_schema import TOKEN, either, is_token, listed, one_of
from localrun.server.parsing.limits import MAX_INPUTS
from localrun.server.parsing.options import KEEP_ALIVE, MODEL, NUM_CTX
from localrun.server.parsing.table import Field, Table, flag, integer
from localrun.server.vectors import in_base64, large_json, numbers

if TYPE_CHECKING:
    from starlette.responses import Response

    from localrun.runner.messages import JsonObject
    from localrun.server.core.embedding import Embedded, Embedding
    from localrun.server.parsing.fields import Fields
    from localrun.server.parsing.json_schema import Schema

FORMATS = ("float", "base64")
POOLINGS = tuple(pooling for pooling in Pooling if pooling is not Pooling.RANK)
Input = str | tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingCall:
    """A parsed request."""

    request: EmbeddingRequest
    encoding: str


def parse_embeddings(fields: Fields) -> EmbeddingCall:
    """Parse the body.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    values = EMBEDDING.read(fields)
    request = EmbeddingRequest(
        model=values[MODEL],
        inputs=values[_INPUT],
        pooling=values[_POOLING],
        truncate=values[_TRUNCATE] or False,
        dimensions=values[_DIMENSIONS],
        num_ctx=values[NUM_CTX],
        keep_alive=values[KEEP_ALIVE],
    )
    return EmbeddingCall(request=request, encoding=values[_ENCODING_FORMAT])


async def embed(call: EmbeddingCall, embedding: Embedding) -> Response:
    """Return the answer."""
    embedded = await embedding.embed(call.request)
    return await large_json(await asyncio.to_thread(_body, call, embedded))


def _body(call: EmbeddingCall, embedded: Embedded) -> JsonObject:
    encode = in_base64 if call.encoding == "base64" else numbers
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector)}
        for index, vector in enumerate(embedded.vectors)
    ]
    usage = {"prompt_tokens": embedded.num_tokens, "total_tokens": embedded.num_tokens}
    return {"object": "list", "data": data, "model": call.request.model, "usage": usage}


def _inputs(fields: Fields, name: str) -> tuple[Input, ...]:
    value = fields.raw(name)
    are_tokens = isinstance(value, list) and bool(value) and isinstance(value[0], int)
    listed: list[Any] = value if isinstance(value, list) and not are_tokens else [value]
    inputs = tuple(tuple(item) if isinstance(item, list) else item for item in listed)
    if not inputs or not all(map(_is_input, inputs)):
        raise fields.wrong(name, "must be a text, a list of texts, or token ids")
    if not all(inputs):
        raise fields.wrong(name, "must not be empty")
    if len(inputs) > MAX_INPUTS:
        raise fields.wrong(name, f"has more than {MAX_INPUTS} entries")
    return inputs


def _is_input(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple) and all(map(is_token, value)))


def _encoding(fields: Fields, name: str) -> str:
    encoding = fields.text(name) or "float"
    if encoding not in FORMATS:
        raise fields.wrong(name, "must be float or base64")
    return encoding


def _pooling(fields: Fields, name: str) -> Pooling | None:
    pooling = fields.text(name)
    if pooling is None:
        return None
    if pooling not in POOLINGS:
        raise fields.wrong(name, "must be mean, cls or last")
    return Pooling(pooling)


_SOME_TEXT: Schema = {"type": "string", "minLength": 1}
_TOKENS = listed(TOKEN, minItems=1)
_INPUT = Field(
    "input",
    _inputs,
    either(_SOME_TEXT, _TOKENS, listed(either(_SOME_TEXT, _TOKENS), minItems=1)),
    is_required=True,
)
_ENCODING_FORMAT = Field("encoding_format", _encoding, one_of(*FORMATS))
_POOLING = Field("pooling", _pooling, one_of(*POOLINGS))
_DIMENSIONS = integer("dimensions", 1)
_TRUNCATE = flag("truncate")
EMBEDDING = Table(
    (_ENCODING_FORMAT, MODEL, _INPUT, _POOLING, _TRUNCATE, _DIMENSIONS, NUM_CTX, KEEP_ALIVE),
    component="EmbeddingRequest",
)
