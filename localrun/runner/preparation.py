"""Preparation of requests: rendering, tokenizing and compiling, in threads of their own.

The reader of the socket never waits for it, so signs of life and cancels pass. One request
is prepared at a time, in the order of arrival; one that takes longer than a slice lets the
others go first, so a costly request delays nobody. Whatever goes wrong ends this one request.

    waiting   not begun: no thread is free
    begun     each has a thread; the first has the turn
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from localrun.chat.budget import Allowance
from localrun.engine.params import FinishReason
from localrun.errors import LocalrunError, RequestTooCostlyError, UsageError
from localrun.runner.frames import FrameTooLargeError
from localrun.runner.messages import CANCELLED, Failed, Finished, Generate

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import Prepared, Terminal

MOST_THREADS = 32  # more than a runner has requests that wait for their first token
SLICE_S = 0.02
BUG = "the request could not be prepared: an error inside localrun, which its log describes"
_log = logging.getLogger(__name__)


class RequestPreparer(Protocol):
    """What prepares requests, passes them on or answers them."""

    def take(self, request: Prepared, allowance: Allowance) -> None:
        """Send the answer of a request, or begin it.

        Raises:
            LocalrunError: it is refused; nothing was sent.
        """

    def cancel(self, request_id: int) -> None:
        """End a request that was begun."""


@dataclass(slots=True, eq=False)
class _Task:
    request: Prepared
    is_cancelled: bool = field(default=False)


class _CancelledError(LocalrunError):
    """The request was cancelled while it was prepared."""

    code = CANCELLED


class Preparation:
    """The requests that are being prepared; any thread may call."""

    def __init__(self, desk: RequestPreparer, send: Callable[[Terminal], None]) -> None:
        self._desk = desk
        self._send = send
        self._changed = threading.Condition()
        self._waiting: deque[_Task] = deque()
        self._begun: deque[_Task] = deque()
        self._is_closed = False
        self._num_free = 0  # threads without a request
        self._threads: list[threading.Thread] = []

    def close(self) -> None:
        """Cancel all requests and wait until the threads have ended."""
        with self._changed:
            self._is_closed = True
            for task in (*self._waiting, *self._begun):
                task.is_cancelled = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def submit(self, request: Prepared) -> None:
        """Queue a request, and start a thread for it if none is free."""
        with self._changed:
            self._waiting.append(_Task(request))
            if len(self._waiting) > self._num_free and len(self._threads) < MOST_THREADS:
                thread = threading.Thread(target=self._run, name="preparation", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()

    def cancel(self, request_id: int) -> None:
        """End a request, wherever it is."""
        with self._changed:
            for task in (*self._waiting, *self._begun):
                if task.request.request_id == request_id:
                    task.is_cancelled = True
                    return
        self._desk.cancel(request_id)

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                self._prepare(task)
            finally:
                self._leave(task)

    def _next(self) -> _Task | None:
        """Return the oldest request that has not begun, once it has the turn; None ends."""
        with self._changed:
            self._num_free += 1
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            self._num_free -= 1
            if not self._waiting:
                return None
            task = self._waiting.popleft()
            self._begun.append(task)
            self._await_turn(task)
            return task

    def _await_turn(self, task: _Task) -> None:
        self._changed.wait_for(lambda: self._begun[0] is task)

    def _leave(self, task: _Task) -> None:
        """Give the turn away for good; what was cancelled at the last moment ends now."""
        with self._changed:
            self._begun.remove(task)
            self._changed.notify_all()
        if task.is_cancelled:
            self._desk.cancel(task.request.request_id)

    def _pause(self, task: _Task) -> None:
        """End a slice: the others go first."""
        with self._changed:
            if len(self._begun) > 1:
                self._begun.rotate(-1)
                self._changed.notify_all()
                self._await_turn(task)
        if task.is_cancelled:
            raise _CancelledError("cancelled")

    def _prepare(self, task: _Task) -> None:
        allowance = Allowance(slice_s=SLICE_S, on_slice=partial(self._pause, task))
        try:
            if task.is_cancelled:
                raise _CancelledError("cancelled")  # noqa: TRY301 - ends as it does later
            self._desk.take(task.request, allowance)
        except _CancelledError:
            self._send(_cancelled(task.request))
        except FrameTooLargeError as error:
            message = f"the answer is too large: {error.message}"
            self._send(failed(task.request, RequestTooCostlyError(message)))
        except LocalrunError as error:
            self._send(failed(task.request, error))
        except Exception:  # noqa: BLE001 - a bug must end one request, not the model's process
            _log.exception("request %s cannot be prepared", task.request.request_id)
            self._send(failed(task.request, LocalrunError(BUG)))


def failed(request: Prepared, error: LocalrunError) -> Failed:
    """Return the end of a request by an error."""
    return Failed(
        request_id=request.request_id,
        code=error.code,
        message=error.message,
        hint=error.hint,
        param=error.param if isinstance(error, UsageError) else None,
    )


def _cancelled(request: Prepared) -> Terminal:
    if not isinstance(request, Generate):
        return Failed(request_id=request.request_id, code=CANCELLED, message=CANCELLED)
    return Finished(
        request_id=request.request_id,
        reason=FinishReason.CANCELLED,
        prompt_tokens=0,
        cached_tokens=0,
        generated_tokens=0,
        queue_s=0.0,
        prompt_s=0.0,
        generation_s=0.0,
    )
