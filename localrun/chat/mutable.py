"""Lists that a template may append to, as some templates in use do.

Only the template's own, never what it is given. What is measured must not grow
later, or a list that stands in many places would be a bomb: so a list that was put
into another value is fixed from then on, and the others count what they take in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2.exceptions import SecurityError

from localrun.chat.sizes import MAX_SIZE, size_of

if TYPE_CHECKING:
    from collections.abc import Iterable

METHODS = frozenset({"append", "pop"})


class MutableList(list[Any]):
    """A list that a template has written."""

    __slots__ = ("is_fixed", "size")

    def __init__(self, items: Iterable[Any], size: int) -> None:
        super().__init__(items)
        self.is_fixed = False
        self.size = size

    def append(self, item: Any, /) -> None:  # noqa: ANN401 - any value of a template
        """Take an item in."""
        self._check()
        fix(item)
        self._check()  # a list cannot hold itself
        self.size += size_of([item])
        if self.size > MAX_SIZE:
            raise SecurityError("a list grows too large")
        super().append(item)

    def pop(self, index: Any = -1, /) -> Any:  # noqa: ANN401
        """Take an item out."""
        self._check()
        return super().pop(index)

    def _check(self) -> None:
        if self.is_fixed:
            raise SecurityError("a list is changed after it was put into another value")


def fix(*values: Any) -> None:  # noqa: ANN401
    """Let lists that are put into another value change no more."""
    for value in values:
        if value.__class__ is MutableList:
            value.is_fixed = True
