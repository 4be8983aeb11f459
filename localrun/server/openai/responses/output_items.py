"""Output items of a response: the protocol of an item while it is generated.

The events of an item begin with ``output_item.added`` and end with ``output_item.done``.
Implementations: `text_items` and `call_items`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject

IN_PROGRESS, COMPLETED, INCOMPLETE = "in_progress", "completed", "incomplete"


class OutputItem(Protocol):
    """An item of the output."""

    def begin(self) -> list[JsonObject]:
        """Return the first events."""

    def push(self, text: str) -> list[JsonObject]:
        """Add a piece of text or of arguments; return its events."""

    def end(self, status: str) -> list[JsonObject]:
        """Return the last events."""

    def item(self) -> JsonObject:
        """Return the item as far as it is generated."""


def added(item: JsonObject) -> JsonObject:
    """Return the first event of an item."""
    return {"type": "response.output_item.added", "item": item}


def done(item: JsonObject) -> JsonObject:
    """Return the last event of an item."""
    return {"type": "response.output_item.done", "item": item}
