"""Parameters that ``/set parameter`` sets: a typed line, its name and value.

    temperature 0.5          stop "### User" END          num_ctx 32k          seed default

Names, types and ranges are those of Modelfiles (`localrun.modelfile.known`). Pure. Invariant: a
value that is returned is one that a Modelfile may have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.modelfile.instruction import most_of
from localrun.modelfile.known import KNOWN, LISTS
from localrun.modelfile.parameters import describe_values, find_parameter, parse_parameter

if TYPE_CHECKING:
    from localrun.modelfile.parameters import ParameterValue

WORD = re.compile(r'"([^"]*)"|(\S+)')  # a backslash is a character
UNSET = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterChange:
    """New value of a parameter; None: as the model has it."""

    name: str
    value: ParameterValue | list[str] | None
    note: str = ""  # why it has no effect, if so

    @property
    def shown(self) -> str:
        """Return the value in words."""
        if self.value is None:
            return UNSET
        return " ".join(self.value) if isinstance(self.value, list) else str(self.value)


def parse_change(line: str) -> ParameterChange:
    """Return what a line after ``/set parameter`` changes.

    Raises:
        UsageError: no such parameter, no value, or a wrong one; the message names the range.
    """
    words = _words(line)
    if not words:
        raise UsageError(
            "which parameter?", hint=f"/set parameter NAME VALUE: {', '.join(usable_names())}"
        )
    name, *values = words
    parameter = find_parameter(name)
    if not values:
        raise UsageError(f"{name} needs a value: {describe_values(parameter)}", hint=_usage(name))
    if values == [UNSET]:
        return ParameterChange(name=name, value=None)
    if name in LISTS:
        most = most_of(f"PARAMETER {name}")
        if len(values) > most:
            raise UsageError(f"{name} takes at most {most} values", hint=_usage(name))
        return ParameterChange(name=name, value=values)
    try:
        value = parse_parameter(name, " ".join(values))
    except UsageError as error:
        raise UsageError(error.message, hint=_usage(name)) from error
    return ParameterChange(name=name, value=value, note=parameter.deprecated or "")


def usable_names() -> list[str]:
    """Return the names of all parameters that have an effect."""
    return [one.name for one in KNOWN.values() if not (one.deprecated or one.removed)]


def _usage(name: str) -> str:
    parameter = KNOWN[name]
    if parameter.kind in {"int", "float"}:
        return f"/set parameter {name} VALUE   {describe_values(parameter)}, or {UNSET}"
    return f"/set parameter {name} VALUE, or {UNSET}"


def _words(line: str) -> list[str]:
    return [match[1] if match[2] is None else match[2] for match in WORD.finditer(line)]
