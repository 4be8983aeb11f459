"""Say in a template's own words whether, and how much, its model is to think.

Callers say ``enable_thinking`` (true or false), ``reasoning_effort`` ("none" or one of
`LEVELS`) and ``thinking_budget`` (tokens). Templates have other names for the switch, other
levels, or none; what they are given explicitly under their own names stays.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LEVELS = ("minimal", "low", "medium", "high", "xhigh", "max")
EFFORTS = ("none", *LEVELS)
EFFORT_NAMES = ("reasoning_effort", "thinking_effort")
# for a model that has no levels: as many tokens as others of its kind take for them
BUDGETS = {"minimal": 512, "low": 1024, "medium": 8192}
OFF_LEVEL = "no_think"  # of a template whose switch is one of the levels
_SWITCHES: dict[str, tuple[Any, Any]] = {  # name: (on, off)
    "thinking": (True, False),
    "thinking_mode": ("enabled", "disabled"),
    "thinking_option": ("on", "off"),
}
_USUAL = ("low", "medium", "high")
_OPENING = re.compile(r"\{[{%]")  # of a tag of Jinja
_CLOSING = re.compile(r"[%}]\}")
_QUOTED = re.compile(r"[\"']([a-z_]+)[\"']")


def knows_effort(source: str) -> bool:
    """Return whether a template passes on how much its model is to think."""
    return any(name in source for name in EFFORT_NAMES)


def thinking_words(source: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with what the template calls them."""
    words = dict(options)
    is_on = options.get("enable_thinking")
    if isinstance(is_on, bool):
        for name, (on, off) in _SWITCHES.items():
            if _mentions(source, name):
                words.setdefault(name, on if is_on else off)
        if "thinking_budget" in source and not is_on:
            words["thinking_budget"] = 0
    effort = words.pop("reasoning_effort", None)
    level = _level(source, effort, is_on)
    if level is not None:
        for name in EFFORT_NAMES:
            if name in source:
                words.setdefault(name, level)
    return words


def _level(source: str, effort: object, is_on: object) -> object:
    """Return the template's level that is nearest; None where the template decides better."""
    quoted = _quoted(source)
    if OFF_LEVEL in quoted and effort in {None, "none"}:
        return None if is_on is None and effort is None else "high" if is_on else OFF_LEVEL
    if effort not in EFFORTS:
        return effort
    if effort in quoted:
        return effort
    named = [level for level in LEVELS if level in quoted]
    levels = named if len(named) > 1 else _USUAL  # one is no more than a default
    if effort == "none":
        return levels[0] if LEVELS.index(levels[0]) <= LEVELS.index("low") else None
    wanted = LEVELS.index(str(effort))
    nearest = min(levels, key=lambda level: (abs(LEVELS.index(level) - wanted), level != "high"))
    is_far_above = LEVELS.index(nearest) > wanted + 1  # more than is wanted by default, maybe
    return None if is_far_above else nearest


@lru_cache(64)
def _quoted(source: str) -> frozenset[str]:
    """Return the texts in quotes of the expressions that mention the effort."""
    expressions = filter(knows_effort, _expressions(source))
    return frozenset(word for one in expressions for word in _QUOTED.findall(one))


def _expressions(source: str) -> Iterator[str]:
    """Yield the tags of a template, in linear time: an opening without a closing ends them."""
    at = 0
    while (opening := _OPENING.search(source, at)) and (
        closing := _CLOSING.search(source, opening.end())
    ):
        yield source[opening.start() : closing.end()]
        at = closing.end()


@lru_cache(64)
def _mentions(source: str, name: str) -> bool:
    return bool(re.search(rf"\b{name}\b", source))
