"""Fields that the APIs share, with their bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.engine.params import MOST_TOP, OverflowPolicy
from localrun.errors import UsageError
from localrun.modelfile.known import KNOWN, OVERFLOWS, ParameterSpec
from localrun.server.parsing.fields import shown
from localrun.server.parsing.limits import LONGEST_STOP, MOST_BREAKERS
from localrun.settings import parse_duration
from localrun.supervisor.model import KeepAlive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.server.parsing.fields import Fields, JsonObject

MANY = 1_000_000  # the most that changes anything, where a number counts tokens
LLAMA_SERVERS_DRAFTS = "speculative.n_max"  # its name of Ollama's draft_num_predict
SAMPLING = (  # the fields of SamplingParams that a request or a recipe sets
    "temperature", "dynatemp_range", "dynatemp_exponent", "top_k", "top_p", "typical_p", "min_p",
    "top_n_sigma", "xtc_probability", "xtc_threshold", "repeat_penalty", "presence_penalty",
    "frequency_penalty", "repeat_last_n", "dry_multiplier", "dry_base", "dry_allowed_length",
    "dry_penalty_last_n", "mirostat", "mirostat_tau", "mirostat_eta", "seed",
    "draft_num_predict",
)  # fmt: skip


def refuse_unless_neutral(fields: Fields, neutral: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse every field of ``neutral`` whose value is none of those that change nothing.

    Raises:
        UsageError: a field asks for what is not supported; the error names it.
    """
    for name, allowed in neutral.items():
        value = fields.raw(name)
        if value is not None and value not in allowed:
            raise fields.wrong(name, f"is not supported with the value {shown(value)}")


def sampling(fields: Fields) -> JsonObject:
    """Return the fields of `SamplingParams` that a request gives, and no others.

    Raises:
        UsageError: a value is of the wrong type or out of bounds; the error names the field.
    """
    given: JsonObject = {}
    for name in SAMPLING:
        value = bounded(fields, KNOWN[name])
        if value is not None:
            given[name] = value
    if breakers := _breakers(fields):
        given["dry_sequence_breakers"] = breakers
    if (most := fields.integer(LLAMA_SERVERS_DRAFTS, 0)) is not None:
        given.setdefault("draft_num_predict", min(most, MANY))
    if fields.boolean("ignore_eos"):
        given["ignore_eos"] = True
    if given.get("top_k") == -1:
        given["top_k"] = 0
    if given.get("seed", 0) < 0:
        del given["seed"]  # another one each time
    return given


def overflow(fields: Fields) -> OverflowPolicy | None:
    """Return what to do when the context is full, None where the request does not say."""
    name = fields.text("overflow")
    if name is None:
        return None
    if name not in OVERFLOWS:
        raise fields.wrong("overflow", f"must be one of {', '.join(OVERFLOWS)}")
    return OverflowPolicy(drops=name == "drop", shifts=name == "shift")


def num_keep(fields: Fields) -> int | None:
    """Return how many tokens stay when others are dropped; -1 is the whole prompt."""
    return fields.integer("num_keep", -1)


def num_logprobs(fields: Fields) -> int | None:
    """Return how many likely tokens to tell for each one, None where nothing is to be told."""
    is_wanted, count = fields.boolean("logprobs"), fields.integer("top_logprobs", 0)
    if count and not is_wanted:
        raise fields.wrong("top_logprobs", "needs logprobs to be true")
    if count is not None and count > MOST_TOP:
        raise fields.wrong("top_logprobs", f"must be at most {MOST_TOP}")
    return (count or 0) if is_wanted else None


def bounded(fields: Fields, known: ParameterSpec) -> float | None:
    """Return a value in a parameter's range; counts beyond what matters are cut."""
    if known.kind == "float":
        number = fields.number(known.name, known.low, known.high)
        return None if number is None else float(number)
    integer = fields.integer(known.name, int(known.low))
    if integer is not None and integer > known.high:
        raise fields.wrong(known.name, f"must be at most {known.high:g}")
    return integer if integer is None or known.name == "seed" else min(integer, MANY)


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


def _breakers(fields: Fields) -> tuple[str, ...]:
    return fields.strings("dry_sequence_breakers", most=MOST_BREAKERS, longest=LONGEST_STOP)
