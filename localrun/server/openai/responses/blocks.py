"""The items of an answer while they come, as events and as a whole.

Every item begins with ``output_item.added`` and ends with ``output_item.done``. `said` and
`calls` have the kinds that there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from localrun.server.parsing.fields import JsonObject

IN_PROGRESS, COMPLETED, INCOMPLETE = "in_progress", "completed", "incomplete"


class Block(Protocol):
    """An item that comes."""

    def begin(self) -> list[JsonObject]:
        """Return the events that open it."""

    def push(self, text: str) -> list[JsonObject]:
        """Take a piece; return the events that tell it."""

    def end(self, status: str) -> list[JsonObject]:
        """Return the events that close it."""

    def item(self) -> JsonObject:
        """Return the item as far as it is known."""


def added(item: JsonObject) -> JsonObject:
    """Return the first event of an item."""
    return {"type": "response.output_item.added", "item": item}


def done(item: JsonObject) -> JsonObject:
    """Return the last event of an item."""
    return {"type": "response.output_item.done", "item": item}
