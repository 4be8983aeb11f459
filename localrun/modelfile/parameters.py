"""Parser and formatter of parameter values.

A whole number may be written as 4096, 4096.0 or 4.096e3 (as ``ollama show`` writes large numbers),
a context also as 4k or 1M, which Ollama refuses. The value of each is the same number.
Durations and texts keep their spelling.
"""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING, Literal

from localrun.errors import UsageError
from localrun.modelfile.known import KNOWN, OTHER_NAMES
from localrun.modelfile.problems import shown
from localrun.variables import parse_duration, parse_tokens

if TYPE_CHECKING:
    from localrun.modelfile.known import ParameterSpec

ParameterValue = bool | int | float | str
Fault = Literal["unknown-parameter", "removed-parameter", "wrong-type", "out-of-range"]

MAX_NAME = 64  # characters compared with known names
MAX_NUMBER = 64  # characters
MAX_VALUE = 1000
DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
TRUTHS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
SWITCHES = {"1": "on", "true": "on", "0": "off", "false": "off"}
LONGEST_PLAIN = 2**53  # larger whole numbers are not exact as floats


class ParameterError(UsageError):
    """An unknown parameter, or a value outside of its type or range."""

    code = "invalid_parameter"

    def __init__(self, fault: Fault, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.fault = fault


def find_parameter(name: str) -> ParameterSpec:
    """Return the specification of a parameter.

    Raises:
        ParameterError: the name is unknown, or the parameter has been removed.
    """
    parameter = KNOWN.get(name)
    if parameter is None:
        raise ParameterError(
            "unknown-parameter", f"unknown parameter: {shown(name)}", _nearest(name)
        )
    if parameter.removed:
        raise ParameterError("removed-parameter", f"{name}: {parameter.removed}", "remove the line")
    return parameter


def parse_parameter(name: str, text: str) -> ParameterValue:
    """Return the value of a text, by the parameter's type.

    Raises:
        ParameterError: the name is unknown, or the value has another type or is out of range.
    """
    parameter = find_parameter(name)
    if parameter.kind in {"string", "list"}:
        return text
    if len(text) > MAX_VALUE:  # bounds the time of the checks below
        raise _wrong(parameter, text)
    if parameter.kind == "duration":
        return _duration(parameter, text)
    word = "".join(char for char in text if char.isprintable()).strip()  # as Ollama drops them
    if parameter.kind == "enum":
        return _choice(parameter, word)
    return _boolean(parameter, word) if parameter.kind == "bool" else _number(parameter, word)


def format_parameter(value: ParameterValue) -> str:
    """Return the text of a value, which `parse_parameter` parses to the same value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < LONGEST_PLAIN
    return str(int(value) if is_whole else value)


def describe_values(parameter: ParameterSpec) -> str:
    """Return a description of a parameter's allowed values."""
    if parameter.kind == "enum":
        return f"one of {', '.join(parameter.choices)}"
    if parameter.kind in {"int", "float"}:
        number = "a whole number" if parameter.kind == "int" else "a number"
        units = ", such as 32768 or 32k" if parameter.is_context else ""
        return f"{number} {_range(parameter)}".rstrip() + units
    others = {"bool": "true or false", "duration": "90 (seconds), 10m, 1h30m or -1 (for ever)"}
    return others.get(parameter.kind, "text")


def _number(parameter: ParameterSpec, word: str) -> int | float:
    value = _parse_number(word)
    if value is None and parameter.is_context:
        value = parse_tokens(word)
    if value is None or (parameter.kind == "int" and value != math.floor(value)):
        raise _wrong(parameter, word)
    if not parameter.low <= value <= parameter.high:
        raise ParameterError(
            "out-of-range",
            f"{parameter.name} is out of range: {shown(word)}",
            f"{parameter.name} is {describe_values(parameter)}",
        )
    return int(value) if parameter.kind == "int" else float(value)


def _parse_number(word: str) -> int | float | None:
    """Return a finite number, or None if the word is not one."""
    if len(word) > MAX_NUMBER:
        return None
    if INTEGER.fullmatch(word):
        return int(word)
    if word.lower().lstrip("+-").startswith("0x"):
        return _parse_hex(word)
    value = float(word) if DECIMAL.fullmatch(word) else math.nan
    return value if math.isfinite(value) else None


def _parse_hex(word: str) -> float | None:
    """Return a number such as 0x1p-2, which Go, and so Ollama, accepts; None if malformed."""
    try:
        return float.fromhex(word)
    except (ValueError, OverflowError):
        return None


def _boolean(parameter: ParameterSpec, word: str) -> bool:
    if word.lower() not in TRUTHS:
        raise _wrong(parameter, word)
    return TRUTHS[word.lower()]


def _choice(parameter: ParameterSpec, word: str) -> str:
    chosen = word.lower()
    if "on" in parameter.choices:
        chosen = SWITCHES.get(chosen, chosen)
    if chosen not in parameter.choices:
        raise _wrong(parameter, word)
    return chosen


def _duration(parameter: ParameterSpec, text: str) -> str:
    if len(text) > MAX_NUMBER:  # bounds the time of parse_duration
        raise _wrong(parameter, text)
    try:
        parse_duration(text)
    except UsageError as error:
        raise _wrong(parameter, text) from error
    return text


def _wrong(parameter: ParameterSpec, word: str) -> ParameterError:
    values = describe_values(parameter)
    hint = f"PARAMETER {parameter.name} {_example(parameter)}"
    if " #" in word:  # a Modelfile has no comments behind values
        hint = f"a comment has a line of its own; {hint}"
    return ParameterError(
        "wrong-type", f"{parameter.name} is {values}, not {shown(word) or 'empty'}", hint
    )


def _example(parameter: ParameterSpec) -> str:
    if parameter.name == "num_ctx":
        return "4096"
    examples = {"bool": "true", "duration": "10m", "enum": next(iter(parameter.choices), "")}
    return examples.get(parameter.kind) or f"{max(parameter.low, min(1, parameter.high)):g}"


def _range(parameter: ParameterSpec) -> str:
    has_low, has_high = parameter.low > -LONGEST_PLAIN, parameter.high < LONGEST_PLAIN
    if has_low and has_high:
        return f"from {parameter.low:g} to {parameter.high:g}"
    return f"of at least {parameter.low:g}" if has_low else ""


def _nearest(name: str) -> str:
    word = name.lower()[:MAX_NAME]
    near = OTHER_NAMES.get(word) or next(iter(difflib.get_close_matches(word, KNOWN, n=1)), None)
    return f"did you mean {near}?" if near else "localrun help parameters"
