"""Rule table of a Lark grammar, and the rules for parameters in any order.

Each expression has one rule: equal expressions share a name. The table knows rule names and
text, not the pieces of calls (``lark.py`` writes those as expressions).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

_NAME = re.compile(r"part_\d+|order_\d+")  # of a rule of the table


@dataclass(slots=True)
class RuleTable:
    """The rules that are written so far, the innermost first."""

    lines: list[str] = field(default_factory=list)
    _num_names: int = 0
    _names: dict[Hashable, str] = field(default_factory=dict)  # of rules, by what they describe

    def grammar(self, start: str) -> str:
        """Return the text of all rules, with an expression as the start rule."""
        return "\n".join([f"start: {start}", *reversed(self.lines)]) + "\n"

    def rule(self, expression: str, attributes: str = "") -> str:
        """Return the name of an expression's rule; equal expressions share one."""
        if not attributes and _NAME.fullmatch(expression):
            return expression
        return self.name_once(
            (expression, attributes), lambda: self._add("part", expression, attributes)
        )

    def terminal(self, expression: str) -> str:
        """Return the name of an expression's terminal; equal expressions share one."""
        return self.name_once(("terminal", expression), lambda: self._add("PART", expression))

    def name_once(self, key: Hashable, write: Callable[[], str]) -> str:
        """Return the rule name stored under a key; write the rule first if the key is new."""
        if key not in self._names:
            self._names[key] = write()
        return self._names[key]

    def new_name(self, kind: str) -> str:
        """Return a name that no rule has."""
        self._num_names += 1
        return f"{kind}_{self._num_names}"

    def _add(self, kind: str, expression: str, attributes: str = "") -> str:
        name = self.new_name(kind)
        self.lines.append(f"{name}{attributes}: {expression}")
        return name


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterRule:
    """The rules of one parameter of a call."""

    first: str  # its rule if no parameter comes before it
    following: str  # its rule behind another parameter, with the separator
    is_required: bool


class AnyOrder:
    """Rules for parameters in any order. A state is the set of parameters still to come.

    With at most ``max_tracked`` parameters, each comes at most once. With more, only that many
    required ones are tracked: the optional ones may repeat between them, in bursts no longer than
    their number, and the other required ones come last, in the schema's order.
    """

    def __init__(
        self, table: RuleTable, parameters: Sequence[ParameterRule], max_tracked: int
    ) -> None:
        self._table = table
        self._parameters = parameters
        required = [at for at, parameter in enumerate(parameters) if parameter.is_required]
        optional = [at for at, parameter in enumerate(parameters) if not parameter.is_required]
        is_small = len(parameters) <= max_tracked
        self._tracked = frozenset((*required, *optional) if is_small else required[:max_tracked])
        self._late = [at for at in required if at not in self._tracked]
        self._untracked = [] if is_small else optional
        self._states: dict[tuple[frozenset[int], int, bool], str] = {}

    def start(self) -> str:
        """Return the name of the rule for all parameters; empty if there are none."""
        if not self._parameters:
            return ""
        key = (
            "order",
            *(parameter.first for parameter in self._parameters),
            *(parameter.following for parameter in self._parameters),
            *(parameter.is_required for parameter in self._parameters),
        )
        return self._table.name_once(key, lambda: self._state(self._tracked, 0, is_first=True))

    def _state(self, missing: frozenset[int], num_late: int, *, is_first: bool) -> str:
        """Return the rule for the missing parameters, behind ``num_late`` of the late ones."""
        key = (missing, num_late, is_first)
        if key not in self._states:
            self._states[key] = name = self._table.new_name("order")
            options = self._options(missing, num_late, is_first=is_first)
            if self._untracked:
                options = self._behind_untracked(missing, num_late, options, is_first=is_first)
            self._table.lines.append(f"{name}: {' | '.join(options)}")
        return self._states[key]

    def _options(self, missing: frozenset[int], num_late: int, *, is_first: bool) -> list[str]:
        successors = [(at, missing - {at}, num_late) for at in sorted(missing)]
        misses_required = any(self._parameters[at].is_required for at in missing)
        if not misses_required and num_late < len(self._late):
            successors.append((self._late[num_late], missing, num_late + 1))
        options = [
            f"{self._name(at, is_first=is_first)} {self._state(others, late, is_first=False)}"
            for at, others, late in successors
        ]
        may_end = not misses_required and num_late == len(self._late)
        return [*options, ""] if may_end else options

    def _name(self, at: int, *, is_first: bool) -> str:
        parameter = self._parameters[at]
        return parameter.first if is_first else parameter.following

    def _behind_untracked(
        self, missing: frozenset[int], num_late: int, options: list[str], *, is_first: bool
    ) -> list[str]:
        """Return options in which untracked parameters may come before the others."""
        following = " | ".join(self._name(at, is_first=False) for at in self._untracked)
        more = self._table.rule(following)
        if not is_first:
            others = self._table.rule(" | ".join(options))
            return [f"{more}{{0,{len(self._untracked)}}} {others}"]
        first = self._table.rule(
            " | ".join(self._name(at, is_first=True) for at in self._untracked)
        )
        others = self._state(missing, num_late, is_first=False)
        return [f"{first} {others}", *options]
