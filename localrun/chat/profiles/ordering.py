"""Rules for the parameters of a call in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.chat.profiles.forms import Parameters
    from localrun.chat.profiles.lark import LarkRules


class AnyOrder:
    """The rules of parameters in any order: a state is what is still to come.

    Few parameters come once each. Of many, some required ones are followed; the optional ones
    may come between them, each burst of them as long as their number; further required ones
    come last, in the schema's order.
    """

    def __init__(self, lark: LarkRules, parameters: Parameters, most: int) -> None:
        self._lark = lark
        items, separator = parameters.items, parameters.separator
        self._first = [lark.rule(lark.sequence(item.pieces)) for item in items]
        self._next = (
            [lark.rule(lark.sequence([*separator, *item.pieces])) for item in items]
            if separator
            else self._first
        )
        self._is_required = [item.is_required for item in items]
        required = [at for at, item in enumerate(items) if item.is_required]
        optional = [at for at, item in enumerate(items) if not item.is_required]
        is_small = len(items) <= most
        self._followed = frozenset((*required, *optional) if is_small else required[:most])
        self._late = [at for at in required if at not in self._followed]
        self._free = [] if is_small else optional
        self._states: dict[tuple[frozenset[int], int, bool], str] = {}

    def start(self) -> str:
        """Return the rule at which nothing has come yet."""
        if not self._first:
            return ""
        key = ("order", *self._first, *self._next, *self._is_required)
        return self._lark.kept(key, lambda: self._state(self._followed, 0, is_first=True))

    def _state(self, left: frozenset[int], num_late: int, *, is_first: bool) -> str:
        """Return the rule with some parameters left, behind so many of the late ones."""
        key = (left, num_late, is_first)
        if key not in self._states:
            self._states[key] = name = self._lark.new_name("order")
            options = self._options(left, num_late, is_first=is_first)
            if self._free:
                options = self._behind_free(left, num_late, options, is_first=is_first)
            self._lark.rules.append(f"{name}: {' | '.join(options)}")
        return self._states[key]

    def _options(self, left: frozenset[int], num_late: int, *, is_first: bool) -> list[str]:
        following = [(at, left - {at}, num_late) for at in sorted(left)]
        is_owed = any(self._is_required[at] for at in left)
        if not is_owed and num_late < len(self._late):
            following.append((self._late[num_late], left, num_late + 1))
        options = [
            f"{(self._first if is_first else self._next)[at]}"
            f" {self._state(rest, late, is_first=False)}"
            for at, rest, late in following
        ]
        is_over = not is_owed and num_late == len(self._late)
        return [*options, ""] if is_over else options

    def _behind_free(
        self, left: frozenset[int], num_late: int, options: list[str], *, is_first: bool
    ) -> list[str]:
        """Let parameters that are not followed come before the others."""
        more = self._lark.rule(" | ".join(self._next[at] for at in self._free))
        most = len(self._free)
        if not is_first:
            rest = self._lark.rule(" | ".join(options))
            return [f"{more}{{0,{most}}} {rest}"]
        first = self._lark.rule(" | ".join(self._first[at] for at in self._free))
        rest = self._state(left, num_late, is_first=False)
        return [f"{first} {rest}", *options]
