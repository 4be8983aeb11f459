from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

import pytest

from localrun.errors import BodyTooLargeError, NotFoundError, UsageError
from localrun.server.middleware.bodies import MAX_BODY_BYTES
from localrun.server.openai.responses.request import parse_call
from localrun.server.openai.responses.store import Record, ResponseStore, kept, kept_items
from localrun.server.parsing.fields import Fields


def record(number: str, previous: str | None = None, padding: int = 0) -> Record:
    response = {
        "id": number,
        "previous_response_id": previous,
        "output": [{"id": f"{number}_out", "text": "x" * padding}],
    }
    return kept(response, kept_items([{"id": f"{number}_in"}]))


def known(store: ResponseStore, *numbers: str) -> list[str]:
    """Return which of them are there, without using any."""
    return [number for number in numbers if store.item(f"{number}_out") is not None]


def test_the_one_that_was_not_used_for_longest_leaves_first() -> None:
    store = ResponseStore(most_responses=2)
    store.add(record("a"))
    store.add(record("b"))
    store.get("a")
    store.add(record("c"))

    assert known(store, "a", "b", "c") == ["a", "c"]
    with pytest.raises(NotFoundError, match="no response 'b'"):
        store.get("b")


def test_bytes_are_bounded_and_the_newest_stays_whatever_its_size() -> None:
    store = ResponseStore(most_bytes=record("a").num_bytes * 2)
    for number in "abc":
        store.add(record(number))
    assert known(store, "a", "b", "c") == ["b", "c"]

    store.add(record("large", padding=10_000))
    assert known(store, "b", "c", "large") == ["large"]

    store.add(record("d"))
    assert known(store, "large", "d") == ["d"]


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

    assert known(store, "a", "b", "c", "other") == ["a", "b", "c"]
    store.add(record("d"))
    assert known(store, "a", "b", "c", "d") == ["a", "b", "d"]  # its end left first


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
    again = kept(
        {"id": "b", "previous_response_id": None, "output": []}, kept_items([{"id": "a_out"}])
    )
    store.add(again)
    store.delete("a")

    assert store.item("a_out") is again.input[0]
    assert store.item("a_in") is None


def test_what_a_request_refers_to_counts_as_its_own() -> None:
    """Or a small request would hold a large item after the response it came with."""
    store = ResponseStore()
    large = {"id": "msg_1", "type": "message", "role": "user", "content": "x" * 1000}
    store.add(kept({"id": "a", "previous_response_id": None, "output": [large]}, ()))
    fields = Fields({"model": "m", "input": [{"type": "item_reference", "id": "msg_1"}]})

    assert parse_call(fields, store).num_bytes > 1000


@pytest.mark.parametrize(
    "item", [{"content": "x" * 5000}, {"content": [{}] * 2000}, {"content": [[{"a": 1}]] * 500}, {}]
)
def test_kept_responses_take_the_memory_that_is_counted(item: dict[str, Any]) -> None:
    store = ResponseStore()
    response: dict[str, Any] = {"previous_response_id": None, "output": []}
    gc.collect()
    tracemalloc.start()

    for number in range(100):
        made = json.loads(json.dumps({"id": f"in_{number}", **item}))
        store.add(kept({**response, "id": f"resp_{number}"}, kept_items([made])))
        del made
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held < 1.5 * store.num_bytes


def test_a_conversation_larger_than_a_body_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResponseStore()
    store.add(record("a"))
    store.add(record("b", "a"))
    monkeypatch.setattr("localrun.server.openai.responses.store.MAX_BODY_BYTES", 1000)

    with pytest.raises(BodyTooLargeError, match="the conversation is larger"):
        store.history("b")


def test_many_references_to_a_large_item_are_refused() -> None:
    store = ResponseStore()
    store.add(record("a", padding=MAX_BODY_BYTES // 4))
    reference = {"type": "item_reference", "id": "a_out"}
    fields = Fields({"model": "m", "input": [reference] * 5})

    with pytest.raises(UsageError, match=r"input\[[34]\]\.id makes the request larger"):
        parse_call(fields, store)
