"""What ``/v1/chat/completions`` and ``/v1/completions`` have in common, under all its names.

Beside OpenAI's own fields these are those of llama.cpp's server, vLLM and LM Studio. Fields
that change nothing here pass: ``user``, ``store``, ``metadata``, ``service_tier``,
``safety_identifier``, ``prompt_cache_key``, ``cache_prompt`` (every prompt is cached),
``id_slot`` (all share one cache), and ``stream_options.include_obfuscation``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from localrun.modelfile.known import KNOWN
from localrun.server.core.choices import MOST_CHOICES
from localrun.server.parsing.options import MANY, bounded, sampling

if TYPE_CHECKING:
    from localrun.server.parsing.fields import Fields, JsonObject

# the values at which programs send what cannot be done here
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "allowed_token_ids": ([],),
    "bad_words": ([],),
    "ignore_eot": (False,),
    "include_stop_str_in_output": (False,),
    "length_penalty": (1,),
    "lora": ([],),
    "min_keep": (0,),
    "n_probs": (0,),
    "prompt_logprobs": (0,),
    "samplers": ([],),
    "stop_token_ids": ([],),
    "t_max_predict_ms": (-1, 0),
    "use_beam_search": (False,),
}
LENGTHS = ("max_completion_tokens", "max_tokens", "n_predict", "num_predict")
UNLIMITED = -1  # what other servers take for no limit
STRONGEST_BIAS = 100
MOST_BIASES = 4096
REPETITION_PENALTY = replace(KNOWN["repeat_penalty"], name="repetition_penalty")  # vLLM's name
LARGEST_TOKEN = 2**31 - 1
TOKEN = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """Whether an answer is told while it comes, and how."""

    is_wanted: bool
    include_usage: bool


def streaming(fields: Fields) -> Streaming:
    """Return how the answer is to come."""
    options = fields.inner("stream_options")
    options.boolean("include_obfuscation")
    return Streaming(
        is_wanted=fields.boolean("stream") or False,
        include_usage=options.boolean("include_usage") or False,
    )


def openai_sampling(fields: Fields) -> JsonObject:
    """Return the fields of `SamplingParams` that a request gives, and no others.

    Raises:
        UsageError: a value is of the wrong type or out of bounds; the error names the field.
    """
    given = sampling(fields)
    repetition = bounded(fields, REPETITION_PENALTY)
    if repetition is not None:
        given.setdefault("repeat_penalty", repetition)
    if least := _min_tokens(fields):
        given["min_tokens"] = least
    if bias := _logit_bias(fields):
        given["logit_bias"] = bias
    return given


def num_predict(fields: Fields, *, least: int = 1) -> int | None:
    """Return how many tokens to generate at most; -1 is as many as fit."""
    given = [_length(fields, name, least) for name in LENGTHS]
    return next((number for number in given if number is not None), None)


def num_choices(fields: Fields) -> int:
    """Return how many answers to give to each prompt.

    Raises:
        UsageError: there are too many, or ``best_of`` asks for more than are told.
    """
    count = fields.integer("n", 1) or 1
    if count > MOST_CHOICES:
        raise fields.wrong("n", f"must be at most {MOST_CHOICES}")
    best_of = fields.integer("best_of", 1)
    if best_of not in {None, count}:
        raise fields.wrong("best_of", "must equal n: all answers are told, not only the best")
    return count


def prediction(fields: Fields) -> str | None:
    """Return the text that the answer is expected to be like.

    Raises:
        UsageError: it is none.
    """
    given = fields.inner("prediction")
    if given.text("type") not in {None, "content"}:
        raise given.wrong("type", "must be content")
    content = given.raw("content")
    if not isinstance(content, list):
        return given.text("content")
    parts = [part.get("text") for part in given.objects("content")]
    if not all(isinstance(part, str) for part in parts):
        raise given.wrong("content", "must be a text, or parts that have a text")
    return "".join(map(str, parts))


def is_token(value: object) -> bool:
    """Return whether a JSON value can be the number of a token."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_TOKEN


def _length(fields: Fields, name: str, least: int) -> int | None:
    number = fields.integer(name, UNLIMITED)
    if number == 0 < least:
        raise fields.wrong(name, f"must be at least {least}")
    return number


def _min_tokens(fields: Fields) -> int:
    """Return how many tokens an answer has before it may end."""
    least, most = fields.integer("min_tokens", 0) or 0, num_predict(fields, least=0)
    if most is not None and 0 <= most < least:
        raise fields.wrong("min_tokens", f"is {least}, more than the {most} tokens at most")
    return min(least, MANY)


def _logit_bias(fields: Fields) -> tuple[tuple[int, float], ...]:
    """Return pairs of tokens and what is added to their logits."""
    inner = fields.inner("logit_bias")
    given: JsonObject = fields.raw("logit_bias") or {}
    if len(given) > MOST_BIASES:
        raise fields.wrong("logit_bias", f"has more than {MOST_BIASES} entries")
    pairs: list[tuple[int, float]] = []
    for name in given:
        bias = inner.number(name, -STRONGEST_BIAS, STRONGEST_BIAS)
        if not (TOKEN.fullmatch(name) and is_token(int(name))):
            raise inner.wrong(name[:40], "is no token: its name must be a number")
        if bias:
            pairs.append((int(name), float(bias)))
    return tuple(pairs)
