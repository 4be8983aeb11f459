"""Rows that ``/v1/chat/completions``, ``/v1/completions`` and ``/v1/responses`` share.

Beside OpenAI's own fields these are those of llama.cpp's server, vLLM and LM Studio. Fields
that have no effect here need no row: ``user``, ``store``, ``metadata``, ``service_tier``,
``safety_identifier``, ``prompt_cache_key``, ``cache_prompt`` (every prompt is cached),
``id_slot`` (all slots share one cache), and ``stream_options.include_obfuscation``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.modelfile.known import KNOWN
from localrun.server.core.choices import MAX_CHOICES
from localrun.server.parsing.conversation import CONTENT
from localrun.server.parsing.fields import Fields
from localrun.server.parsing.json_schema import (
    COUNT,
    POSITIVE,
    bounded,
    either,
    is_token,
    mapped,
    one_of,
)
from localrun.server.parsing.options import MANY, SAMPLING_TABLE, parameter, sampling_of
from localrun.server.parsing.table import Field, Table, flag, group, integer, neutral

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.table import Values

LENGTH_NAMES = ("max_completion_tokens", "max_tokens", "n_predict", "num_predict")
UNLIMITED = -1  # in the dialect of other servers
STRONGEST_BIAS = 100
MAX_BIASES = 4096
TOKEN_NAME = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """Delivery of the response."""

    is_wanted: bool
    include_usage: bool


def streaming(values: Values) -> Streaming:
    """Return the delivery for a request with the rows of `STREAMING`."""
    return Streaming(
        is_wanted=values[STREAM] or False,
        include_usage=values[_STREAM_OPTIONS][_INCLUDE_USAGE] or False,
    )


def openai_sampling(values: Values) -> JsonObject:
    """Return the fields of `SamplingParams` that a request with the rows of `SAMPLING` gives.

    Raises:
        UsageError: ``min_tokens`` exceeds the limit.
    """
    given = sampling_of(values)
    if values[_REPETITION_PENALTY] is not None:
        given.setdefault("repeat_penalty", values[_REPETITION_PENALTY])
    if num_least := _min_tokens(values):
        given["min_tokens"] = num_least
    if values[_LOGIT_BIAS]:
        given["logit_bias"] = values[_LOGIT_BIAS]
    return given


def num_predict(values: Values) -> int | None:
    """Return the maximum number of generated tokens; -1 is the rest of the context."""
    return next(iter(values.given(LENGTHS).values()), None)


def num_choices(values: Values) -> int:
    """Return the number of choices for each prompt.

    Raises:
        UsageError: ``best_of`` is not that number.
    """
    count = values[_N] or 1
    if values[_BEST_OF] not in {None, count}:
        raise values.fields.wrong(
            "best_of", "must equal n: all choices are returned, not only the best one"
        )
    return count


def length(name: str, least: int = 1) -> Field[int | None]:
    """Return the row of a maximum number of tokens: at least ``least``, or -1."""

    def read(fields: Fields, name: str) -> int | None:
        number = fields.integer(name, UNLIMITED)
        if number == 0 < least:
            raise fields.wrong(name, f"must be at least {least}")
        return number

    return Field(name, read, either(POSITIVE if least else COUNT, {"const": UNLIMITED}))


def _min_tokens(values: Values) -> int:
    """Return the number of tokens before which the answer cannot end."""
    least = values[_MIN_TOKENS]
    if not least:
        return 0
    most = num_predict(values)
    if most is not None and 0 <= most < least:
        raise values.fields.wrong(
            "min_tokens", f"is {least}, more than the maximum of {most} tokens"
        )
    return min(least, MANY)


def _prediction(fields: Fields, name: str) -> str | None:
    """Return the expected text, from which draft tokens are taken."""
    prediction = fields.inner(name)
    if prediction.text("type") not in {None, "content"}:
        raise prediction.wrong("type", "must be content")
    content = prediction.raw("content")
    if not isinstance(content, list):
        return prediction.text("content")
    parts = [part.get("text") for part in prediction.objects("content")]
    if not all(isinstance(part, str) for part in parts):
        raise prediction.wrong("content", "must be a text, or parts that have a text")
    return "".join(map(str, parts))


def _logit_bias(fields: Fields, name: str) -> tuple[tuple[int, float], ...]:
    """Return pairs of a token id and the number that is added to its logit."""
    biases = fields.inner(name)
    if len(biases.names) > MAX_BIASES:
        raise fields.wrong(name, f"has more than {MAX_BIASES} entries")
    pairs: list[tuple[int, float]] = []
    for token in biases.names:
        bias = biases.number(token, -STRONGEST_BIAS, STRONGEST_BIAS)
        if not (TOKEN_NAME.fullmatch(token) and is_token(int(token))):
            raise biases.wrong(token[:40], "is no token: its name must be a number")
        if bias:
            pairs.append((int(token), float(bias)))
    return tuple(pairs)


# unsupported fields with the neutral values at which programs send them
NEUTRAL = (
    neutral("allowed_token_ids", ([],)),
    neutral("bad_words", ([],)),
    neutral("ignore_eot", (False,)),
    neutral("include_stop_str_in_output", (False,)),
    neutral("length_penalty", (1,)),
    neutral("lora", ([],)),
    neutral("min_keep", (0,)),
    neutral("n_probs", (0,)),
    neutral("prompt_logprobs", (0,)),
    neutral("samplers", ([],)),
    neutral("stop_token_ids", ([],)),
    neutral("t_max_predict_ms", (-1, 0)),
    neutral("use_beam_search", (False,)),
)
_BIAS = bounded({"type": "number"}, -STRONGEST_BIAS, STRONGEST_BIAS)
_MIN_TOKENS = integer("min_tokens", 0)
_LOGIT_BIAS = Field(
    "logit_bias", _logit_bias, mapped(_BIAS, propertyNames={"pattern": "^[0-9]{1,9}$"})
)
_REPETITION_PENALTY = parameter(replace(KNOWN["repeat_penalty"], name="repetition_penalty"))
_N = integer("n", 1, MAX_CHOICES)
_BEST_OF = integer("best_of", 1)
_INCLUDE_USAGE = flag("include_usage")
_STREAM_OPTIONS = group("stream_options", Table((flag("include_obfuscation"), _INCLUDE_USAGE)))

LENGTHS = tuple(map(length, LENGTH_NAMES))
LENGTHS_FROM_ZERO = tuple(length(name, 0) for name in LENGTH_NAMES)
STREAM = flag("stream")
STREAMING = (_STREAM_OPTIONS, STREAM)
SAMPLING = (*SAMPLING_TABLE.rows, _REPETITION_PENALTY, _MIN_TOKENS, _LOGIT_BIAS)
CHOICES = (_N, _BEST_OF)
PREDICTION = Field(
    "prediction",
    _prediction,
    Table(
        (Field("type", Fields.text, one_of("content")), Field("content", Fields.raw, CONTENT))
    ).schema(),
)
