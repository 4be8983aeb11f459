from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.params import FinishReason
from localrun.errors import LoadError, NotFoundError
from localrun.runner.messages import Failed, Finished, Step
from localrun.supervisor.model import KeepAlive
from localrun.supervisor.slots.request_queue import (
    PendingLoad,
    PendingRequest,
    RequestHandle,
    RequestQueue,
)
from tests.supervisor.simulation import simulated_model

if TYPE_CHECKING:
    from localrun.runner.messages import Event

clients = st.sampled_from("abc")


def request(
    client: str = "a",
    *,
    name: str = "one",
    num_ctx: int | None = None,
    bypasses_queue: bool = False,
    is_background: bool = False,
    events: list[Event] | None = None,
) -> PendingRequest:
    received: list[Event] = [] if events is None else events
    return PendingRequest(
        request_id=0,
        model=simulated_model(name, "a"),
        frame=b"",
        sink=received.append,
        client=client,
        num_ctx=num_ctx,
        keep_alive=KeepAlive(None),
        submitted_at=0.0,
        bypasses_queue=bypasses_queue,
        is_background=is_background,
    )


def test_background_requests_wait_until_there_are_no_others() -> None:
    queue = RequestQueue()
    requests = [
        request("a", is_background=True),
        request("b", is_background=True),
        request("a"),
        request("c"),
    ]
    for each in requests:
        queue.add(each)

    assert queue.has_interactive
    order = [queue.take_next(Counter({"a": 9, "c": 9})) for _ in range(4)]

    assert order == [requests[2], requests[3], requests[1], requests[0]]
    assert not queue.has_interactive


def test_a_background_request_is_removed_like_any_other() -> None:
    queue = RequestQueue()
    both = [request("a", is_background=True), request("a")]
    for each in both:
        queue.add(each)

    assert queue.remove(both[0])
    assert not queue.remove(both[0])
    assert list(queue) == [both[1]]


@given(st.lists(st.one_of(clients, st.none(), st.integers(0, 9)), max_size=40))
def test_the_next_request_is_of_the_client_with_the_fewest_running(
    acts: list[str | int | None],
) -> None:
    """A letter adds a request of a client, None takes the next, a number ends a running one."""
    queue, waiting = RequestQueue(), list[PendingRequest]()
    running: list[PendingRequest] = []
    for act in acts:
        if isinstance(act, str):
            waiting.append(request(act))
            queue.add(waiting[-1])
        elif isinstance(act, int):
            running[act : act + 1] = []
        elif waiting:
            num_running = Counter(pending.client for pending in running)
            taken = queue.take_next(num_running)

            own = [pending for pending in waiting if pending.client == taken.client]
            assert taken is own[0], "first in, first out for one client"
            assert num_running[taken.client] == min(
                num_running[pending.client] for pending in waiting
            )
            waiting.remove(taken)
            running.append(taken)
        assert queue.num_queued == len(waiting)
        assert set(queue) == set(waiting)
        assert queue.is_empty == (not waiting)


@given(st.lists(clients, min_size=1, max_size=30))
def test_no_client_is_served_twice_while_another_waits(order: list[str]) -> None:
    queue = RequestQueue()
    for client in order:
        queue.add(request(client))

    while not queue.is_empty:
        waiting = {pending.client for pending in queue}
        served = [queue.take_next(Counter()).client for _ in waiting]

        assert set(served) == waiting


@given(st.lists(st.tuples(clients, st.booleans()), max_size=20), st.data())
def test_a_removed_request_is_gone_and_the_rest_keeps_its_order(
    added: list[tuple[str, bool]], data: st.DataObject
) -> None:
    queue = RequestQueue()
    requests = [request(client, bypasses_queue=bypasses) for client, bypasses in added]
    for pending in requests:
        queue.add(pending)
    removed = data.draw(st.sets(st.sampled_from(requests))) if requests else set()

    assert all(queue.remove(pending) for pending in removed)
    assert not any(queue.remove(pending) for pending in removed)

    rest = [pending for pending in requests if pending not in removed]
    bypassing = [pending for pending in rest if pending.bypasses_queue]
    assert queue.num_queued == len(rest) - len(bypassing)
    assert queue.has_bypassing == bool(bypassing)
    assert [queue.take_bypassing() for _ in bypassing] == bypassing
    assert set(queue.take_all()) == set(rest) - set(bypassing)
    assert queue.is_empty


def test_requests_are_counted_and_taken_by_name() -> None:
    queue = RequestQueue()
    first, second = request(name="one", num_ctx=512), request("b", name="two", num_ctx=4096)
    beside = request(name="two", bypasses_queue=True)
    for pending in (first, second, beside):
        queue.add(pending)

    assert queue.max_num_ctx == 4096
    assert queue.num_queued_for("two") == 1
    assert queue.digests() == {"one": "sha256:one", "two": "sha256:two"}
    assert queue.take_name("two") == [second, beside]
    assert list(queue) == [first]


def test_a_cancel_error_takes_the_place_of_a_cut_end() -> None:
    events: list[Event] = []
    pending = request(events=events)
    pending.cancel_error = NotFoundError("it was removed")
    text = Step(deltas=((0, "text"),))

    pending.forward(text)
    pending.finish(FinishReason.CANCELLED)
    finished = events.pop()
    pending.forward(finished)

    assert events[0] is text
    assert isinstance(finished, Finished)
    assert isinstance(events[1], Failed)
    assert events[1].message == "it was removed"


def test_a_reply_that_was_complete_stays_although_its_model_was_removed() -> None:
    events: list[Event] = []
    pending = request(events=events)
    pending.finish(FinishReason.STOP)
    pending.cancel_error = NotFoundError("it was removed")

    pending.forward(events[0])

    assert events[1] is events[0]


def test_who_waits_for_a_load_gets_its_time_or_its_error() -> None:
    load = PendingLoad()
    pending = request()
    pending.load_s = 1.5
    load.handle = RequestHandle(pending, lambda _: None)
    failed = PendingLoad()
    request().sink = failed

    thread = threading.Thread(target=load, args=(finished_event(),))
    thread.start()
    seconds = load.wait()
    thread.join()
    failed(Failed(request_id=0, code=LoadError.code, message="not a model", hint="pull it"))

    assert seconds == 1.5
    with pytest.raises(LoadError, match="not a model") as caught:
        failed.wait()
    assert caught.value.hint == "pull it"


def finished_event() -> Finished:
    events: list[Event] = []
    request(events=events).finish(FinishReason.STOP)
    (event,) = events
    assert isinstance(event, Finished)
    return event
