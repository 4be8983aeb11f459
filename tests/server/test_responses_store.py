from __future__ import annotations

import pytest

from localrun.errors import NotFoundError
from localrun.server.fields import Fields
from localrun.server.openai.responses.request import parse_call
from localrun.server.openai.responses.store import Record, ResponseStore


def record(number: str, previous: str | None = None, size_bytes: int = 10) -> Record:
    response = {
        "id": number,
        "previous_response_id": previous,
        "output": [{"id": f"{number}_out"}],
    }
    return Record(response=response, input=({"id": f"{number}_in"},), size_bytes=size_bytes)


def kept(store: ResponseStore, *numbers: str) -> list[str]:
    """Return which of them are there, without using any."""
    return [number for number in numbers if store.item(f"{number}_out") is not None]


def test_the_one_that_was_not_used_for_longest_leaves_first() -> None:
    store = ResponseStore(most_responses=2)
    store.add(record("a"))
    store.add(record("b"))
    store.get("a")
    store.add(record("c"))

    assert kept(store, "a", "b", "c") == ["a", "c"]
    with pytest.raises(NotFoundError, match="no response 'b'"):
        store.get("b")


def test_bytes_are_bounded_and_the_newest_stays_whatever_its_size() -> None:
    store = ResponseStore(most_bytes=25)
    for number in "abc":
        store.add(record(number))
    assert kept(store, "a", "b", "c") == ["b", "c"]

    store.add(record("large", size_bytes=99))
    assert kept(store, "b", "c", "large") == ["large"]

    store.add(record("d"))
    assert kept(store, "large", "d") == ["d"]


def test_a_conversation_is_told_from_its_beginning() -> None:
    store = ResponseStore()
    store.add(record("a"))
    store.add(record("other"))
    store.add(record("b", "a"))

    told = [item["id"] for item in store.history("b")]

    assert told == ["a_in", "a_out", "b_in", "b_out"]


def test_a_conversation_that_goes_on_keeps_its_beginning() -> None:
    store = ResponseStore(most_responses=3)
    store.add(record("a"))
    store.add(record("other"))
    store.add(record("b", "a"))
    store.add(record("c", "b"))

    assert kept(store, "a", "b", "c", "other") == ["a", "b", "c"]
    store.add(record("d"))
    assert kept(store, "a", "b", "c", "d") == ["a", "b", "d"]  # its end left first


def test_a_conversation_whose_beginning_was_deleted_does_not_go_on() -> None:
    store = ResponseStore()
    store.add(record("a"))
    store.add(record("b", "a"))
    store.delete("a")

    with pytest.raises(NotFoundError, match="'a'"):
        store.history("b")
    assert store.get("b").response["id"] == "b"


def test_an_item_that_a_later_response_has_too_is_not_lost_with_the_first() -> None:
    store = ResponseStore()
    store.add(record("a"))
    again = Record(
        response={"id": "b", "previous_response_id": None, "output": []},
        input=({"id": "a_out"},),
        size_bytes=1,
    )
    store.add(again)
    store.delete("a")

    assert store.item("a_out") is again.input[0]
    assert store.item("a_in") is None


def test_what_a_request_refers_to_counts_as_its_own() -> None:
    """Or a small request would hold a large item after the response it came with."""
    store = ResponseStore()
    large = {"id": "msg_1", "type": "message", "role": "user", "content": "x" * 1000}
    response = {"id": "a", "previous_response_id": None, "output": [large]}
    store.add(Record(response=response, input=(), size_bytes=1000))
    fields = Fields({"model": "m", "input": [{"type": "item_reference", "id": "msg_1"}]})

    assert parse_call(fields, 60, store).size_bytes > 1060
