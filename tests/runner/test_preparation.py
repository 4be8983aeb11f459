"""Requests are prepared in slices, each for itself."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

import pytest

from localrun.engine.params import FinishReason
from localrun.errors import UsageError
from localrun.runner.frames import FrameTooLargeError
from localrun.runner.messages import Failed, Finished, Generate, Terminal, Tokenize, Tokens
from localrun.runner.preparation import MAX_THREADS, Preparation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.chat.budget import Allowance
    from localrun.runner.messages import Prepared

WAIT_S = 60  # until a test fails


class Preparer:
    """Answers at once, unless a request has an act of its own."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[Terminal] = queue.SimpleQueue()
        self.acts: dict[int, Callable[[Allowance], None]] = {}
        self.cancelled: list[int] = []

    def take(self, request: Prepared, allowance: Allowance) -> None:
        act = self.acts.get(request.request_id)
        if act is not None:
            act(allowance)
        self.events.put(
            Tokens(request_id=request.request_id, tokens=(), text="", pieces=(), num_ctx=1)
        )

    def cancel(self, request_id: int) -> None:
        self.cancelled.append(request_id)

    def next(self) -> Terminal:
        return self.events.get(timeout=WAIT_S)


def endless(allowance: Allowance) -> None:
    while True:
        allowance.tick()


def raising(error: Exception) -> Callable[[Allowance], None]:
    def act(_: Allowance) -> None:
        raise error

    return act


def asked(request_id: int) -> Tokenize:
    return Tokenize(request_id=request_id)


@pytest.fixture
def preparer() -> Preparer:
    return Preparer()


@pytest.fixture
def preparation(preparer: Preparer) -> Iterator[Preparation]:
    found = Preparation(preparer, preparer.events.put)
    yield found
    found.close()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a bug"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        RecursionError(),
        MemoryError(),
    ],
)
def test_a_bug_ends_one_request_without_a_traceback(
    preparer: Preparer, preparation: Preparation, error: Exception
) -> None:
    preparer.acts[1] = raising(error)

    for number in (1, 2):
        preparation.submit(asked(number))
    failed, answered = preparer.next(), preparer.next()

    assert isinstance(failed, Failed)
    assert (failed.request_id, failed.code) == (1, "internal_error")
    assert "Traceback" not in failed.message
    assert str(error) not in failed.message or not str(error)
    assert answered.request_id == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no", param="messages"), "invalid_request"),
        (FrameTooLargeError("70 MB"), "request_too_costly"),
    ],
)
def test_a_refusal_is_told_by_its_code(
    preparer: Preparer, preparation: Preparation, error: Exception, code: str
) -> None:
    preparer.acts[1] = raising(error)

    preparation.submit(asked(1))
    failed = preparer.next()

    assert isinstance(failed, Failed)
    assert failed.code == code


def test_a_costly_request_lets_the_others_go_first(
    preparer: Preparer, preparation: Preparation
) -> None:
    for number in range(1, 6):
        preparer.acts[number] = endless
        preparation.submit(asked(number))

    for number in range(10, 20):
        preparation.submit(asked(number))

    assert [preparer.next().request_id for _ in range(10)] == list(range(10, 20))


def test_requests_are_begun_in_order_and_one_at_a_time(
    preparer: Preparer, preparation: Preparation
) -> None:
    begun: list[int] = []
    alone = threading.Lock()

    def noted(number: int) -> Callable[[Allowance], None]:
        def act(_: Allowance) -> None:
            assert alone.acquire(blocking=False)
            begun.append(number)
            alone.release()

        return act

    numbers = range(2 * MAX_THREADS)
    for number in numbers:
        preparer.acts[number] = noted(number)
        preparation.submit(asked(number))

    assert [preparer.next().request_id for _ in numbers] == begun == list(numbers)


def test_a_cancel_ends_a_preparation(preparer: Preparer, preparation: Preparation) -> None:
    preparer.acts = {1: endless, 2: endless}
    preparation.submit(Generate(request_id=1))
    preparation.submit(asked(2))

    preparation.cancel(1)
    finished = preparer.next()
    preparation.cancel(2)
    failed = preparer.next()

    assert isinstance(finished, Finished)
    assert (finished.request_id, finished.reason) == (1, FinishReason.CANCELLED)
    assert isinstance(failed, Failed)
    assert (failed.request_id, failed.code) == (2, "cancelled")


def test_what_waits_for_a_thread_can_be_cancelled(
    preparer: Preparer, preparation: Preparation
) -> None:
    numbers = range(MAX_THREADS + 1)
    for number in numbers:
        preparer.acts[number] = endless
        preparation.submit(asked(number))

    for number in reversed(numbers):
        preparation.cancel(number)

    assert {preparer.next().request_id for _ in numbers} == set(numbers)


def test_what_is_prepared_is_cancelled_downstream(
    preparer: Preparer, preparation: Preparation
) -> None:
    preparation.submit(asked(1))
    preparer.next()

    preparation.cancel(99)

    assert 99 in preparer.cancelled


def test_a_cancel_at_the_last_moment_is_passed_on(
    preparer: Preparer, preparation: Preparation
) -> None:
    preparer.acts[1] = lambda _: preparation.cancel(1)

    preparation.submit(asked(1))
    preparer.next()
    preparation.close()

    assert preparer.cancelled == [1]


def test_closing_ends_all_preparations(preparer: Preparer, preparation: Preparation) -> None:
    for number in range(3):
        preparer.acts[number] = endless
        preparation.submit(asked(number))

    preparation.close()

    assert {preparer.next().request_id for _ in range(3)} == {0, 1, 2}
