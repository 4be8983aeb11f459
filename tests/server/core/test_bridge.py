"""Requests that cross from coroutines to a pool, and events that cross back."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from localrun.errors import BackendError, LocalrunError, ModelNotFoundError
from localrun.runner.messages import Detokenize, Failed, Ranks, Tokens
from localrun.server.core.bridge import Bridge, EventStream, PoolRequest
from localrun.supervisor.model import RequestOptions
from localrun.supervisor.pool import RunnerPool
from localrun.supervisor.slots.request_queue import RequestHandle
from tests.fakes.starting import fake_model, num_open, start_fake
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST_NUMBER: ContextVar[str] = ContextVar("number", default="")


@pytest.fixture
def pool() -> Iterator[RunnerPool]:
    pool = RunnerPool(keep_alive_s=300, start=start_fake)
    yield pool
    pool.close()


@pytest.fixture
def bridge(pool: RunnerPool) -> Bridge:
    return Bridge(pool)


@pytest.fixture
def cancelled(monkeypatch: pytest.MonkeyPatch) -> list[RequestHandle]:
    """Return the requests that are cancelled, by any thread."""
    handles: list[RequestHandle] = []
    cancel = RequestHandle.cancel

    def recorded(handle: RequestHandle) -> None:
        handles.append(handle)
        cancel(handle)

    monkeypatch.setattr(RequestHandle, "cancel", recorded)
    return handles


def detokenize(text: str) -> PoolRequest:
    message = Detokenize(request_id=0, tokens=tuple(map(ord, text)))
    return PoolRequest(model=fake_model(), message=message, options=RequestOptions())


def test_an_answer_is_the_terminal_event_and_cancels_nothing(
    bridge: Bridge, cancelled: list[RequestHandle]
) -> None:
    answer, load_s = asyncio.run(bridge.answer(lambda: detokenize("hello"), Tokens))

    assert answer.text == "hello"
    assert load_s > 0
    assert cancelled == []


def test_a_consumer_that_leaves_the_block_cancels_the_request(
    bridge: Bridge, pool: RunnerPool
) -> None:
    async def leave() -> None:
        async with bridge.submitted(lambda: detokenize("hang")):
            await asyncio.to_thread(wait_until, lambda: num_open(pool) == 1)

    asyncio.run(leave())

    wait_until(lambda: num_open(pool) == 0)


def test_a_caller_that_is_cancelled_during_the_wait_cancels_the_request(
    bridge: Bridge, pool: RunnerPool
) -> None:
    async def leave() -> None:
        task = asyncio.create_task(bridge.answer(lambda: detokenize("hang"), Tokens))
        await asyncio.to_thread(wait_until, lambda: num_open(pool) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())

    wait_until(lambda: num_open(pool) == 0)


def test_a_caller_that_is_cancelled_while_it_submits_cancels_the_request(
    bridge: Bridge, pool: RunnerPool, cancelled: list[RequestHandle]
) -> None:
    is_preparing, may_submit = threading.Event(), threading.Event()

    def prepare() -> PoolRequest:
        is_preparing.set()
        assert may_submit.wait(HANG_S)
        return detokenize("hang")

    async def leave() -> None:
        task = asyncio.create_task(bridge.answer(prepare, Tokens))
        await asyncio.to_thread(is_preparing.wait, HANG_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_submit.set()
        await asyncio.to_thread(wait_until, lambda: cancelled)

    asyncio.run(leave())

    wait_until(lambda: num_open(pool) == 0)


def test_an_error_of_the_preparation_reaches_the_caller(bridge: Bridge) -> None:
    def prepare() -> PoolRequest:
        raise ModelNotFoundError("no such model")

    with pytest.raises(ModelNotFoundError, match="no such model"):
        asyncio.run(bridge.answer(prepare, Tokens))


def test_a_failed_request_raises_the_error_that_its_event_names() -> None:
    async def receive() -> None:
        events: asyncio.Queue[Failed] = asyncio.Queue()
        failed = Failed(request_id=1, code="model_not_found", message="m", hint="h")
        events.put_nowait(failed)
        stream = EventStream(events, None)  # type: ignore[arg-type]
        with pytest.raises(LocalrunError, match="m"):
            await stream.receive()
        assert stream.is_over

    asyncio.run(receive())


def test_an_answer_of_another_kind_is_an_error_of_the_runner(bridge: Bridge) -> None:
    with pytest.raises(BackendError, match="Tokens"):
        asyncio.run(bridge.answer(lambda: detokenize("x"), Ranks))


def test_the_preparation_runs_in_the_context_of_the_caller(bridge: Bridge) -> None:
    numbers: list[str] = []

    def prepare() -> PoolRequest:
        numbers.append(REQUEST_NUMBER.get())
        return detokenize("x")

    async def ask() -> None:
        REQUEST_NUMBER.set("17")
        await bridge.answer(prepare, Tokens)

    asyncio.run(ask())

    assert numbers == ["17"]


def test_a_load_is_a_request_without_a_message(bridge: Bridge, pool: RunnerPool) -> None:
    seconds = asyncio.run(
        bridge.load(lambda: PoolRequest(model=fake_model(), message=None, options=RequestOptions()))
    )

    assert seconds > 0
    assert [row.name for row in pool.running()] == [fake_model().name]
