"""Fields that the APIs share, with their bounds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localrun.engine.params import SamplingParams
from localrun.errors import UsageError
from localrun.settings import parse_duration
from localrun.supervisor.slot import KeepAlive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.server.fields import Fields

HOTTEST = 100.0
MOST_CANDIDATES = 1_000_000


def refuse_unless_neutral(fields: Fields, neutral: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse every field of ``neutral`` whose value is none of those that change nothing.

    Raises:
        UsageError: a field asks for what is not supported; the error names it.
    """
    for name, allowed in neutral.items():
        value = fields.raw(name)
        if value is not None and value not in allowed:
            raise fields.wrong(name, f"is not supported with the value {json.dumps(value)[:60]}")


def sampling(fields: Fields) -> SamplingParams:
    """Return the sampling of a request; an absent field keeps its default."""
    defaults = SamplingParams()
    temperature = fields.number("temperature", 0, HOTTEST)
    top_k = fields.integer("top_k", -1)
    top_p = fields.number("top_p", 0, 1)
    min_p = fields.number("min_p", 0, 1)
    seed = fields.integer("seed")
    return SamplingParams(
        temperature=defaults.temperature if temperature is None else temperature,
        top_k=defaults.top_k if top_k is None else min(max(0, top_k), MOST_CANDIDATES),
        top_p=defaults.top_p if top_p is None else top_p,
        min_p=defaults.min_p if min_p is None else min_p,
        seed=defaults.seed if seed is None or seed < 0 else seed,
    )


def keep_alive(fields: Fields) -> KeepAlive | None:
    """Return how long the model stays after the answer, None where the request does not say.

    Ollama's forms: a number of seconds or text such as "10m"; negative is for ever.
    """
    value = fields.raw("keep_alive")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise fields.wrong("keep_alive", 'must be seconds or text such as "10m"')
    try:
        return KeepAlive(parse_duration(value))
    except UsageError as error:
        raise fields.wrong("keep_alive", f"is {error.message}") from error
