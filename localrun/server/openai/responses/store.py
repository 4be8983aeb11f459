"""The responses that can be asked for again, and that a conversation goes on from.

Held in memory as long as there is room, in number and in bytes. Those that were used least
recently leave first; a response counts as used when one that follows it is, so that a
conversation never loses its beginning before its end.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import NotFoundError

if TYPE_CHECKING:
    from localrun.server.fields import JsonObject

MOST_RESPONSES = 1000
MOST_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A response that ended, and what was asked."""

    response: JsonObject
    input: tuple[JsonObject, ...]
    size_bytes: int


class ResponseStore:
    """Records by the id of their response; all on the event loop."""

    def __init__(self, most_responses: int = MOST_RESPONSES, most_bytes: int = MOST_BYTES) -> None:
        self._most_responses = most_responses
        self._most_bytes = most_bytes
        self._records: OrderedDict[str, Record] = OrderedDict()  # the next to leave first
        self._items: dict[str, JsonObject] = {}
        self._size_bytes = 0

    def add(self, record: Record) -> None:
        """Keep a response, and drop others until there is room; the new one always stays."""
        self._records[record.response["id"]] = record
        self._items |= {item["id"]: item for item in _items(record)}
        self._size_bytes += record.size_bytes
        previous = record.response["previous_response_id"]
        if previous in self._records:
            self._touch(previous)
        while len(self._records) > 1 and self._is_full:
            self.delete(next(iter(self._records)))

    def get(self, number: str) -> Record:
        """Return the record of a response.

        Raises:
            NotFoundError: it is not here, or no longer.
        """
        if number not in self._records:
            raise not_found(number)
        self._touch(number)
        return self._records[number]

    def delete(self, number: str) -> None:
        """Forget a response.

        Raises:
            NotFoundError: it is not here, or no longer.
        """
        if number not in self._records:
            raise not_found(number)
        record = self._records.pop(number)
        self._size_bytes -= record.size_bytes
        for item in _items(record):
            if self._items.get(item["id"]) is item:  # clients send items again with their ids
                del self._items[item["id"]]

    def history(self, number: str) -> list[JsonObject]:
        """Return the items of a response and of those that it follows, the oldest first.

        Raises:
            NotFoundError: one of them is not here, or no longer.
        """
        self.get(number)
        chain = self._chain(number)
        oldest = self._records[chain[-1]].response["previous_response_id"]
        if oldest is not None:
            raise not_found(oldest)
        return [item for one in reversed(chain) for item in _items(self._records[one])]

    def item(self, number: str) -> JsonObject | None:
        """Return an item of any response, None where there is none of this id."""
        return self._items.get(number)

    @property
    def _is_full(self) -> bool:
        return len(self._records) > self._most_responses or self._size_bytes > self._most_bytes

    def _touch(self, number: str) -> None:
        for one in self._chain(number):
            self._records.move_to_end(one)

    def _chain(self, number: str) -> list[str]:
        """Return a response and those that it follows, as far as they are here."""
        chain: list[str] = []
        following: str | None = number
        while following is not None and following in self._records:
            chain.append(following)
            following = self._records[following].response["previous_response_id"]
        return chain


def not_found(number: str) -> NotFoundError:
    """Return the error for a response that is not here."""
    return NotFoundError(
        f"there is no response {number!r} here, or no longer: they are kept while there is room"
    )


def _items(record: Record) -> list[JsonObject]:
    return [*record.input, *record.response["output"]]
