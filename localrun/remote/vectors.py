"""Embeddings and relevance scores of remote models.

Vectors are requested as base64, which costs a tenth of decimal numbers to read; an engine that
sends numbers is understood too. All vectors are brought to length 1, as those of local models.
"""

from __future__ import annotations

import array
import asyncio
import base64
import binascii
import json
import math
import operator
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.remote.errors import malformed
from localrun.remote.fields import EngineFields
from localrun.remote.model import EngineKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.remote.engines import RemoteEngines
    from localrun.remote.model import RemoteAddress, RemoteTarget
    from localrun.runner.messages import JsonObject

EMBEDDINGS, RERANK = "embeddings", "rerank"
MOST_DIMENSIONS = 65_536
NEARLY_ONE = 1e-3  # a shorter or longer vector is scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteVectors:
    """Vectors of some inputs: float32, little-endian, each of length 1."""

    vectors: tuple[bytes, ...]
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRanks:
    """Scores of documents in their order; probabilities or logits, as the engine has them."""

    scores: tuple[float, ...]
    are_probabilities: bool
    num_tokens: int


async def embed(
    engines: RemoteEngines,
    target: RemoteTarget,
    inputs: Sequence[str],
    *,
    dimensions: int | None,
    truncate: bool,
) -> RemoteVectors:
    """Return a vector for each input.

    Raises:
        LocalrunError: the engine does not answer, or refuses or fails.
    """
    fields: JsonObject = {"input": list(inputs), "encoding_format": "base64"}
    if dimensions is not None:
        fields["dimensions"] = dimensions
    if truncate:
        fields |= _truncation(target.model.engine)
    answer = await _asked(engines, target, EMBEDDINGS, fields)
    try:
        vectors = await asyncio.to_thread(_vectors, answer["data"], len(inputs))
        return RemoteVectors(vectors=vectors, num_tokens=_num_tokens(answer))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _unusable(target, "sends vectors in another format") from error


async def rank(
    engines: RemoteEngines,
    target: RemoteTarget,
    query: str,
    documents: Sequence[str],
    *,
    truncate: bool,
    raw_scores: bool,
) -> RemoteRanks:
    """Return a score for each document.

    Raises:
        UsageError: raw scores are wanted, and the engine has none.
        LocalrunError: the engine does not answer, or refuses or fails.
    """
    kind = target.model.engine
    fields: JsonObject = {"query": query, "documents": list(documents)}
    if truncate:
        fields |= _truncation(kind)
    if raw_scores and kind is EngineKind.LOCALRUN:
        fields["raw_scores"] = True
    elif raw_scores and kind is not EngineKind.LLAMA_SERVER:
        raise EngineFields(target.name, target.model).refused("raw_scores")
    answer = await _asked(engines, target, RERANK, fields)
    try:
        scores = _scores(answer, len(documents))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unusable(target, "sends scores in another format") from error
    return RemoteRanks(
        scores=scores,
        are_probabilities=kind is not EngineKind.LLAMA_SERVER,
        num_tokens=0 if isinstance(answer, list) else _num_tokens(answer),
    )


async def _asked(
    engines: RemoteEngines, target: RemoteTarget, path: str, fields: JsonObject
) -> Any:  # noqa: ANN401 - any JSON
    encoded = await asyncio.to_thread(lambda: json.dumps(fields, ensure_ascii=False).encode())

    def body_for(address: RemoteAddress) -> bytes:
        return b'{"model": ' + json.dumps(address.model).encode() + b", " + encoded[1:]

    return await engines.ask(target.name, target.model, target.key, path, body_for)


def _truncation(kind: EngineKind) -> JsonObject:
    """Return the field by which inputs that are too long are cut; others are refused by engines."""
    if kind is EngineKind.LOCALRUN:
        return {"truncate": True}
    return {"truncate_prompt_tokens": -1} if kind is EngineKind.VLLM else {}


def _vectors(data: Sequence[JsonObject], count: int) -> tuple[bytes, ...]:
    """Return the vectors in the order of the inputs."""
    vectors: list[bytes | None] = [None] * count
    for place, item in enumerate(data):
        vectors[_index(item.get("index", place), count)] = _vector(item["embedding"])
    whole = tuple(vector for vector in vectors if vector is not None)
    if len(whole) != count or len({len(vector) for vector in whole}) > 1:
        raise ValueError("an input has no vector, or vectors differ in length")
    return whole


def _vector(value: object) -> bytes:
    """Return a vector of length 1; a vector of zeros stays as it is."""
    numbers = array.array("f")
    if isinstance(value, str):
        try:
            numbers.frombytes(base64.b64decode(value, validate=True))
        except binascii.Error as error:
            raise ValueError("not base64") from error
        _little_endian(numbers)
    elif isinstance(value, list):
        numbers.extend(value)
    else:
        raise TypeError(value)
    if not 0 < len(numbers) <= MOST_DIMENSIONS:
        raise ValueError(f"a vector of {len(numbers)} numbers")
    length = math.sqrt(sum(map(operator.mul, numbers, numbers)))
    if not math.isfinite(length):
        raise ValueError("a vector has a number that is not finite")
    if length and abs(length - 1) > NEARLY_ONE:
        numbers = array.array("f", [number / length for number in numbers])
    _little_endian(numbers)
    return numbers.tobytes()


def _little_endian(numbers: array.array[float]) -> None:
    """Swap the bytes of numbers on a machine of the other order."""
    if sys.byteorder == "big":
        numbers.byteswap()


def _scores(answer: Any, count: int) -> tuple[float, ...]:  # noqa: ANN401 - any JSON
    """Return the scores in the order of the documents; some engines send the list alone."""
    scores = [math.nan] * count
    for result in answer if isinstance(answer, list) else answer["results"]:
        scores[_index(result["index"], count)] = _score(result)
    if any(map(math.isnan, scores)):
        raise ValueError("a document has no score")
    return tuple(scores)


def _index(value: object, count: int) -> int:
    if type(value) is not int or not 0 <= value < count:
        raise ValueError(value)
    return value


def _score(result: JsonObject) -> float:
    score = float(result["relevance_score"] if "relevance_score" in result else result["score"])
    if not math.isfinite(score):
        raise ValueError(score)
    return score


def _num_tokens(answer: JsonObject) -> int:
    usage = answer.get("usage") or {}
    number = usage.get("prompt_tokens") or usage.get("total_tokens") or 0
    return number if type(number) is int and 0 <= number < 1 << 53 else 0


def _unusable(target: RemoteTarget, what: str) -> Exception:
    return malformed(target.name, target.model.first, what)
