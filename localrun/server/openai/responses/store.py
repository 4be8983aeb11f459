"""Store of ended responses, which clients read again or continue.

The responses are in memory as JSON, limited in number and in bytes: as Python objects they would
take many times the memory that is counted. The least recently used response is evicted first. A
response counts as used when one that continues it is used, so that a conversation never loses its
beginning before its end.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import BodyTooLargeError, NotFoundError
from localrun.server.middleware.bodies import MAX_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localrun.runner.messages import JsonObject

MAX_RESPONSES = 1000
MAX_BYTES = 128 * 1024 * 1024
ITEM_BYTES = 400  # of an item beside its text: the objects that hold it, and its place by id


@dataclass(frozen=True, slots=True)
class KeptItem:
    """An item of a conversation as JSON."""

    id: str
    text: bytes

    @property
    def num_bytes(self) -> int:
        """Return the approximate memory that it takes."""
        return ITEM_BYTES + len(self.text) + 4 * len(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An ended response and its input items."""

    id: str
    previous: str | None  # id of the response that it continues
    head: bytes  # the response without its output
    input: tuple[KeptItem, ...]
    output: tuple[KeptItem, ...]

    @property
    def response(self) -> JsonObject:
        """Return the response as an object."""
        response: JsonObject = json.loads(self.head)
        return response | {"output": [json.loads(item.text) for item in self.output]}

    @property
    def items(self) -> tuple[KeptItem, ...]:
        """Return all items, in order."""
        return self.input + self.output

    @property
    def num_bytes(self) -> int:
        """Return the approximate memory that it takes."""
        return ITEM_BYTES + len(self.head) + sum(item.num_bytes for item in self.items)


class ResponseStore:
    """Records by the ids of their responses; safe from any thread."""

    def __init__(self, most_responses: int = MAX_RESPONSES, most_bytes: int = MAX_BYTES) -> None:
        self._most_responses = most_responses
        self._most_bytes = most_bytes
        # guards all fields below; taken alone, again by methods that call each other
        self._lock = threading.RLock()
        self._records: OrderedDict[str, Record] = OrderedDict()  # the next to be evicted is first
        self._items: dict[str, KeptItem] = {}
        self.num_bytes = 0

    def add(self, record: Record) -> None:
        """Store a response, and evict others until the limits hold; the new one always stays."""
        with self._lock:
            self._records[record.id] = record
            self._items |= {item.id: item for item in record.items}
            self.num_bytes += record.num_bytes
            if record.previous is not None:
                self._touch(record.previous)
            while len(self._records) > 1 and self._is_full:
                self.delete(next(iter(self._records)))

    def get(self, number: str) -> Record:
        """Return the record of a response.

        Raises:
            NotFoundError: there is no such response, or it was evicted.
        """
        with self._lock:
            if number not in self._records:
                raise not_found(number)
            self._touch(number)
            return self._records[number]

    def delete(self, number: str) -> None:
        """Delete a response.

        Raises:
            NotFoundError: there is no such response, or it was evicted.
        """
        with self._lock:
            if number not in self._records:
                raise not_found(number)
            record = self._records.pop(number)
            self.num_bytes -= record.num_bytes
            for item in record.items:
                if self._items.get(item.id) is item:  # another response may have the same item
                    del self._items[item.id]

    def history(self, number: str) -> list[JsonObject]:
        """Return the items of a response and of those that it continues, the oldest first.

        Raises:
            NotFoundError: one of the responses does not exist, or was evicted.
            BodyTooLargeError: together they are larger than a body may be.
        """
        with self._lock:
            self.get(number)
            chain = [self._records[ancestor] for ancestor in reversed(self._chain(number))]
        if chain[0].previous is not None:
            raise not_found(chain[0].previous)
        if sum(record.num_bytes for record in chain) > MAX_BODY_BYTES:
            raise BodyTooLargeError(
                f"the conversation is larger than {MAX_BODY_BYTES // 1024 // 1024} MiB"
            )
        return [json.loads(item.text) for record in chain for item in record.items]

    def item(self, number: str) -> KeptItem | None:
        """Return an item of any response, or None if no item has this id."""
        with self._lock:
            return self._items.get(number)

    @property
    def _is_full(self) -> bool:
        return len(self._records) > self._most_responses or self.num_bytes > self._most_bytes

    def _touch(self, number: str) -> None:
        for ancestor in self._chain(number):
            self._records.move_to_end(ancestor)

    def _chain(self, number: str) -> list[str]:
        """Return the ids of a response and of its stored predecessors, the newest first."""
        chain: list[str] = []
        following: str | None = number
        while following is not None and following in self._records:
            chain.append(following)
            following = self._records[following].previous
        return chain


def kept(response: JsonObject, items: tuple[KeptItem, ...]) -> Record:
    """Return the record of a response and of its input items."""
    return Record(
        id=response["id"],
        previous=response["previous_response_id"],
        head=_json(response | {"output": []}),
        input=items,
        output=kept_items(response["output"]),
    )


def kept_items(items: Iterable[JsonObject]) -> tuple[KeptItem, ...]:
    """Return items that have ids in their stored form."""
    return tuple(KeptItem(item["id"], _json(item)) for item in items)


def not_found(number: str) -> NotFoundError:
    """Return the error for a response that is not stored."""
    return NotFoundError(
        f"there is no response {number[:100]!r}, or it was evicted to make room for newer ones"
    )


def _json(value: JsonObject) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
