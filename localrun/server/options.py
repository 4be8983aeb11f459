"""Fields that the APIs share, with their bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.params import SamplingParams
from localrun.errors import UsageError
from localrun.server.core import POOL_KEEP_ALIVE
from localrun.settings import parse_duration

if TYPE_CHECKING:
    from localrun.server.fields import Fields

HOTTEST = 100.0
MOST_CANDIDATES = 1_000_000


def sampling(fields: Fields, defaults: SamplingParams) -> SamplingParams:
    """Return the sampling of a request; an absent field keeps its default."""
    temperature = fields.number("temperature", 0, HOTTEST)
    top_k = fields.integer("top_k", -1, MOST_CANDIDATES)
    top_p = fields.number("top_p", 0, 1)
    min_p = fields.number("min_p", 0, 1)
    seed = fields.integer("seed")
    return SamplingParams(
        temperature=defaults.temperature if temperature is None else temperature,
        top_k=defaults.top_k if top_k is None else max(0, top_k),
        top_p=defaults.top_p if top_p is None else top_p,
        min_p=defaults.min_p if min_p is None else min_p,
        seed=defaults.seed if seed is None or seed < 0 else seed,
    )


def keep_alive(fields: Fields) -> float | None:
    """Return how long the model stays after the answer: seconds, None for ever.

    Ollama's forms: a number of seconds or text such as "10m"; negative is for ever.
    """
    value = fields.raw("keep_alive")
    if value is None:
        return POOL_KEEP_ALIVE
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise fields.wrong("keep_alive", 'must be seconds or text such as "10m"')
    try:
        return parse_duration(value)
    except UsageError as error:
        raise fields.wrong("keep_alive", f"is {error.message}") from error
