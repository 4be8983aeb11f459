"""Rows that the request tables of several APIs share: model, sampling, context and logprobs.

Owns the bounds and the readers of these fields; what a value means for a model (the recipe's
defaults) is decided in ``core/defaults.py``. A reader returns None for an omitted field, so that
it never overrides the recipe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.params import MAX_TOP_LOGPROBS, OverflowPolicy
from localrun.errors import UsageError
from localrun.modelfile.known import KNOWN, OVERFLOWS, ParameterSpec
from localrun.server.parsing import limits
from localrun.server.parsing.fields import Fields
from localrun.server.parsing.json_schema import MODEL_NAME, NUMBER, TEXT, bounded, either
from localrun.server.parsing.table import Field, Table, choice, flag, integer, strings, text
from localrun.supervisor.model import KeepAlive
from localrun.variables import parse_duration

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.table import Values

MANY = 1_000_000  # the largest effective value of a number of tokens
SAMPLING = (  # the fields of SamplingParams that a request or a recipe sets
    "temperature", "dynatemp_range", "dynatemp_exponent", "top_k", "top_p", "typical_p", "min_p",
    "top_n_sigma", "xtc_probability", "xtc_threshold", "repeat_penalty", "presence_penalty",
    "frequency_penalty", "repeat_last_n", "dry_multiplier", "dry_base", "dry_allowed_length",
    "dry_penalty_last_n", "mirostat", "mirostat_tau", "mirostat_eta", "seed",
    "draft_num_predict",
)  # fmt: skip


def parameter(spec: ParameterSpec) -> Field[float | None]:
    """Return the row of a recipe's number; token counts above `MANY` are cut to it."""
    if spec.kind == "float":

        def read(fields: Fields, name: str) -> float | None:
            value = fields.number(name, spec.low, spec.high)
            return None if value is None else float(value)
    else:

        def read(fields: Fields, name: str) -> float | None:
            value = fields.integer(name, int(spec.low))
            if value is not None and value > spec.high:
                raise fields.wrong(name, f"must be at most {spec.high:g}")
            return value if value is None or name == "seed" else min(value, MANY)

    schema = {"type": {"float": "number", "int": "integer"}[spec.kind], "description": spec.about}
    return Field(spec.name, read, bounded(schema, spec.low, spec.high))


def stop_strings(name: str = "stop") -> Field[tuple[str, ...] | None]:
    """Return the row of the stop strings of a request."""
    row = strings(name, most=limits.MAX_STOPS, longest=limits.LONGEST_STOP)

    def read(fields: Fields, name: str) -> tuple[str, ...] | None:
        return None if fields.raw(name) is None else row.read(fields, name)

    return Field(name, read, row.schema)


def context_length(low: int = 1) -> Field[int | None]:
    """Return the row of ``num_ctx``; its value 0 is None."""
    return Field(
        "num_ctx",
        lambda fields, name: fields.integer(name, low, limits.LONGEST_CONTEXT) or None,
        bounded({"type": "integer"}, low, limits.LONGEST_CONTEXT),
    )


def sampling(fields: Fields) -> JsonObject:
    """Return the fields of `SamplingParams` that a body gives, and no others.

    Raises:
        UsageError: a value is of the wrong type or out of bounds; the error names the field.
    """
    return sampling_of(SAMPLING_TABLE.read(fields))


def sampling_of(values: Values) -> JsonObject:
    """Return the fields of `SamplingParams` that the values give, and no others."""
    given: JsonObject = values.given(_PARAMETERS)
    if values[_BREAKERS]:
        given["dry_sequence_breakers"] = values[_BREAKERS]
    if (num_draft := values[_NUM_DRAFT]) is not None:
        given.setdefault("draft_num_predict", min(num_draft, MANY))
    if values[_IGNORE_EOS]:
        given["ignore_eos"] = True
    if given.get("top_k") == -1:
        given["top_k"] = 0
    if given.get("seed", 0) < 0:
        del given["seed"]  # a random seed for each request
    return given


def overflow(fields: Fields, name: str = "overflow") -> OverflowPolicy | None:
    """Return what to do when the context is full, or None if the body does not say.

    Raises:
        UsageError: the policy is unknown.
    """
    policy = _OVERFLOW_NAME.read(fields, name)
    if policy is None:
        return None
    return OverflowPolicy(drops=policy == "drop", shifts=policy == "shift")


def keep_alive(fields: Fields, name: str = "keep_alive") -> KeepAlive | None:
    """Return how long the model stays loaded after the request, or None if the body does not say.

    Ollama's forms: a number of seconds or text such as "10m"; a negative number is for ever.

    Raises:
        UsageError: the value has another form.
    """
    value = fields.raw(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise fields.wrong(name, 'must be seconds or text such as "10m"')
    try:
        return KeepAlive(parse_duration(value))
    except UsageError as error:
        raise fields.wrong(name, f"is {error.message}") from error


def num_logprobs(values: Values) -> int | None:
    """Return the number of alternatives to report for each token, or None for no logprobs.

    Raises:
        UsageError: ``top_logprobs`` is given without ``logprobs``, or is too large.
    """
    is_wanted, count, fields = values[LOGPROBS], values[TOP_LOGPROBS], values.fields
    if count and not is_wanted:
        raise fields.wrong("top_logprobs", "needs logprobs to be true")
    return (count or 0) if is_wanted else None


_PARAMETERS = tuple(parameter(KNOWN[name]) for name in SAMPLING)
_BREAKERS = strings("dry_sequence_breakers", most=limits.MAX_BREAKERS, longest=limits.LONGEST_STOP)
_NUM_DRAFT = integer("speculative.n_max", 0)  # llama-server's name of draft_num_predict
_IGNORE_EOS = flag("ignore_eos")
_OVERFLOW_NAME = choice("overflow", OVERFLOWS)

SAMPLING_TABLE = Table((*_PARAMETERS, _BREAKERS, _NUM_DRAFT, _IGNORE_EOS))
MODEL = Field(
    "model",
    lambda fields, name: fields.required_text(name, longest=limits.LONGEST_NAME),
    MODEL_NAME,
    is_required=True,
)
STOP = stop_strings()
NUM_CTX = context_length()
DRAFT = text("draft", longest=limits.LONGEST_NAME)  # draft model: a name, "auto" or "none"
KEEP_ALIVE = Field("keep_alive", keep_alive, either(TEXT, NUMBER))
OVERFLOW = Field("overflow", overflow, _OVERFLOW_NAME.schema)
NUM_KEEP = integer("num_keep", -1)  # tokens kept on overflow; -1 is the whole prompt
LOGPROBS = flag("logprobs")
TOP_LOGPROBS = integer("top_logprobs", 0, MAX_TOP_LOGPROBS)
