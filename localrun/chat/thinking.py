"""Reasoning options in the terms of one template.

Callers set ``enable_thinking`` (true or false), ``reasoning_effort`` ("none" or one of `LEVELS`)
and ``thinking_budget`` (tokens). Templates have other names for the switch, other levels, or no
levels. An option that a caller sets under the template's own name stays as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from localrun.errors import LocalrunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localrun.chat.adaptation import Render

LEVELS = ("minimal", "low", "medium", "high", "xhigh", "max")
EFFORTS = ("none", *LEVELS)
EFFORT_NAMES = ("reasoning_effort", "thinking_effort")
# tokens for a model without levels: about what comparable models spend at each level
BUDGETS = {"minimal": 512, "low": 1024, "medium": 8192}
OFF_LEVEL = "no_think"  # of a template whose switch is one of the levels
_SWITCHES: dict[str, tuple[Any, Any]] = {  # name: (on, off)
    "thinking": (True, False),
    "thinking_mode": ("enabled", "disabled"),
    "thinking_option": ("on", "off"),
}
_USUAL_LEVELS = ("low", "medium", "high")
_OPENING = re.compile(r"\{[{%]")  # of a tag of Jinja
_CLOSING = re.compile(r"[%}]\}")
_QUOTED = re.compile(r"[\"']([a-z_]+)[\"']")
_SAMPLE = [{"role": "user", "content": "Hello"}]


class ReasoningTerms:
    """The names and levels that one template uses for reasoning."""

    def __init__(self, source: str) -> None:
        self._effort_names = [name for name in EFFORT_NAMES if name in source]
        self._switches = [name for name in _SWITCHES if re.search(rf"\b{name}\b", source)]
        self._has_budget = "thinking_budget" in source
        self._quoted = _quoted_with_effort(source)

    @property
    def has_effort(self) -> bool:
        """Return whether the template writes the reasoning effort into the prompt."""
        return bool(self._effort_names)

    def translated(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options with the reasoning options under the template's names."""
        translated = dict(options)
        is_on = options.get("enable_thinking")
        if isinstance(is_on, bool):
            for name in self._switches:
                on, off = _SWITCHES[name]
                translated.setdefault(name, on if is_on else off)
            if self._has_budget and not is_on:
                translated["thinking_budget"] = 0
        level = self._level(translated.pop("reasoning_effort", None), is_on)
        if level is not None:
            for name in self._effort_names:
                translated.setdefault(name, level)
        return translated

    def _level(self, effort: object, is_on: object) -> object:
        """Return the template's nearest level, or None to leave the level to the template."""
        if OFF_LEVEL in self._quoted and effort in {None, "none"}:
            return None if is_on is None and effort is None else "high" if is_on else OFF_LEVEL
        if effort not in EFFORTS:
            return effort
        if effort in self._quoted:
            return effort
        named = [level for level in LEVELS if level in self._quoted]
        levels = named if len(named) > 1 else _USUAL_LEVELS  # a single level is only a default
        if effort == "none":
            return levels[0] if LEVELS.index(levels[0]) <= LEVELS.index("low") else None
        return _nearest(levels, LEVELS.index(str(effort)))


def may_reason_by_default(render: Render) -> bool:
    """Return whether the model may reason if a request does not set ``enable_thinking``.

    A template that reads the option renders prompts that differ by it: the model does not reason
    if the default prompt equals the one without thinking. Otherwise the model decides.
    """
    try:
        default, without, thinking = (
            render(_SAMPLE, options=options)
            for options in ({}, {"enable_thinking": False}, {"enable_thinking": True})
        )
    except LocalrunError:  # a template that requires other messages: the model decides
        return True
    return not (default == without != thinking)


def _nearest(levels: tuple[str, ...] | list[str], wanted: int) -> str | None:
    nearest = min(levels, key=lambda level: (abs(LEVELS.index(level) - wanted), level != "high"))
    is_far_above = LEVELS.index(nearest) > wanted + 1  # may exceed the template's default
    return None if is_far_above else nearest


def _quoted_with_effort(source: str) -> frozenset[str]:
    """Return the quoted texts of the expressions that mention the effort."""
    return frozenset(
        word
        for expression in _expressions(source)
        if any(name in expression for name in EFFORT_NAMES)
        for word in _QUOTED.findall(expression)
    )


def _expressions(source: str) -> Iterator[str]:
    """Yield the tags of a template in linear time: stop at an opening without a closing."""
    start = 0
    while (opening := _OPENING.search(source, start)) and (
        closing := _CLOSING.search(source, opening.end())
    ):
        yield source[opening.start() : closing.end()]
        start = closing.end()
