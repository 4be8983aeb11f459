"""Lists that a template creates and may append to.

Only the template's own lists can change, never its input. A measured value must not grow
later, or a list that is held in many places would exceed every limit: a list becomes fixed when
it is put into another value, and a list that is not fixed counts what is appended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2.exceptions import SecurityError

from localrun.chat.sizes import MAX_SIZE, size_of

if TYPE_CHECKING:
    from collections.abc import Iterable

METHODS = frozenset({"append", "pop"})


class MutableList(list[Any]):
    """A list that a template created, with its size in the unit of ``sizes.py``."""

    __slots__ = ("is_fixed", "size")

    def __init__(self, items: Iterable[Any], size: int) -> None:
        super().__init__(items)
        self.is_fixed = False
        self.size = size

    def append(self, item: Any, /) -> None:  # noqa: ANN401 - any value of a template
        """Append an item, which becomes fixed.

        Raises:
            SecurityError: the list is fixed, or grows too large.
        """
        self._check()
        fix(item)
        self._check()  # a list cannot hold itself
        self.size += size_of([item])
        if self.size > MAX_SIZE:
            raise SecurityError("a list grows too large")
        super().append(item)

    def pop(self, index: Any = -1, /) -> Any:  # noqa: ANN401
        """Remove and return an item.

        Raises:
            SecurityError: the list is fixed.
        """
        self._check()
        return super().pop(index)

    def _check(self) -> None:
        if self.is_fixed:
            raise SecurityError("a list is changed after it was put into another value")


def fix(*values: Any) -> None:  # noqa: ANN401
    """Fix the lists among values that are put into another value."""
    for value in values:
        if value.__class__ is MutableList:
            value.is_fixed = True
