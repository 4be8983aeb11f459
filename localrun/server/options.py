"""Fields that the APIs share, with their bounds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localrun.errors import UsageError
from localrun.settings import parse_duration
from localrun.supervisor.slot import KeepAlive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.server.fields import Fields, JsonObject

MANY = 1_000_000
MOST_BREAKERS = 32
NUMBERS: dict[str, tuple[float, float]] = {  # fields of SamplingParams and their bounds
    "temperature": (0, 100),
    "dynatemp_range": (0, 100),
    "dynatemp_exponent": (0, 100),
    "top_p": (0, 1),
    "typical_p": (0, 1),
    "min_p": (0, 1),
    "top_n_sigma": (-1, 1000),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 1),
    "repeat_penalty": (0.01, 100),
    "presence_penalty": (-100, 100),
    "frequency_penalty": (-100, 100),
    "dry_multiplier": (0, 100),
    "dry_base": (1, 100),
    "mirostat_tau": (0, 100),
    "mirostat_eta": (0, 10),
}
INTEGERS = {  # with the least that is taken and the most that changes anything
    "top_k": (-1, MANY),
    "repeat_last_n": (-1, MANY),
    "dry_allowed_length": (0, MANY),
    "dry_penalty_last_n": (-1, MANY),
    "mirostat": (0, 2),
    "seed": (-(2**63) + 1, 2**63 - 1),
}


def refuse_unless_neutral(fields: Fields, neutral: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse every field of ``neutral`` whose value is none of those that change nothing.

    Raises:
        UsageError: a field asks for what is not supported; the error names it.
    """
    for name, allowed in neutral.items():
        value = fields.raw(name)
        if value is not None and value not in allowed:
            raise fields.wrong(name, f"is not supported with the value {json.dumps(value)[:60]}")


def sampling(fields: Fields) -> JsonObject:
    """Return the fields of `SamplingParams` that a request gives; the others keep their defaults.

    Raises:
        UsageError: a value is of the wrong type or out of bounds; the error names the field.
    """
    given: JsonObject = {}
    for name, (low, high) in NUMBERS.items():
        number = fields.number(name, low, high)
        if number is not None:
            given[name] = float(number)
    for name, (least, most) in INTEGERS.items():
        integer = fields.integer(name, least)
        if integer is not None:
            given[name] = min(integer, most)
    breakers = fields.strings("dry_sequence_breakers")
    if breakers:
        given["dry_sequence_breakers"] = breakers[:MOST_BREAKERS]
    if given.get("top_k") == -1:
        given["top_k"] = 0
    if given.get("seed", 0) < 0:
        del given["seed"]  # another one each time
    return given


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
