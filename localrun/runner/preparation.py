"""Preparation threads of a runner: render, tokenize and compile grammars, beside the reader.

The reader thread never waits for a preparation, so heartbeats and cancels pass. One request
is prepared at a time, in the order of arrival. A request that uses up its time slice yields to
the others (round robin), so a costly request delays no other by more than a slice. An error
ends the request that caused it, nothing else.

    waiting   no thread has taken the request yet
    active    each has a thread; the first of them runs, the others wait for their slice
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from localrun.chat.budget import Allowance
from localrun.errors import LocalrunError, RequestTooCostlyError
from localrun.runner.events import cancelled_event, failed_event
from localrun.runner.frames import FrameTooLargeError
from localrun.runner.messages import CANCELLED, Failed, Generate

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.runner.messages import Prepared, Terminal

MAX_THREADS = 32  # more than the requests that wait for their first token
SLICE_S = 0.02
BUG = "the request could not be prepared: an error inside localrun, which its log describes"
_log = logging.getLogger(__name__)


class RequestPreparer(Protocol):
    """Work of a preparation thread on one request."""

    def take(self, request: Prepared, allowance: Allowance) -> None:
        """Answer a request, or submit it to the engine thread.

        Raises:
            LocalrunError: the request is refused; no event was sent.
        """

    def cancel(self, request_id: int) -> None:
        """Cancel a request that was submitted to the engine thread."""


@dataclass(slots=True, eq=False)
class _Task:
    request: Prepared
    is_cancelled: bool = field(default=False)


class _CancelledError(LocalrunError):
    """The request was cancelled while it was prepared."""

    code = CANCELLED


class Preparation:
    """Queue of requests to prepare, and its threads.

    Threads: public methods may be called from any thread; private ones run on the preparation
    threads.
    """

    def __init__(self, preparer: RequestPreparer, send: Callable[[Terminal], None]) -> None:
        self._preparer = preparer
        self._send = send
        # Guards all attributes below; notified when they change. No other lock is taken while
        # it is held, and no request is prepared.
        self._changed = threading.Condition()
        self._waiting: deque[_Task] = deque()
        self._active: deque[_Task] = deque()
        self._is_closed = False
        self._num_idle = 0  # threads without a request
        self._threads: list[threading.Thread] = []

    def close(self) -> None:
        """Cancel all requests and wait until the threads have ended."""
        with self._changed:
            self._is_closed = True
            for task in (*self._waiting, *self._active):
                task.is_cancelled = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def submit(self, request: Prepared) -> None:
        """Queue a request, and start a thread for it if none is free."""
        with self._changed:
            self._waiting.append(_Task(request))
            if len(self._waiting) > self._num_idle and len(self._threads) < MAX_THREADS:
                thread = threading.Thread(target=self._run, name="preparation", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()

    def cancel(self, request_id: int) -> None:
        """Cancel a request that waits, is being prepared, or has been submitted."""
        with self._changed:
            for task in (*self._waiting, *self._active):
                if task.request.request_id == request_id:
                    task.is_cancelled = True
                    return
        self._preparer.cancel(request_id)

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                self._prepare(task)
            finally:
                self._leave(task)

    def _next(self) -> _Task | None:
        """Return the oldest waiting request once it may run; None ends the thread."""
        with self._changed:
            self._num_idle += 1
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            self._num_idle -= 1
            if not self._waiting:
                return None
            task = self._waiting.popleft()
            self._active.append(task)
            self._await_slice(task)
            return task

    def _await_slice(self, task: _Task) -> None:
        self._changed.wait_for(lambda: self._active[0] is task)

    def _leave(self, task: _Task) -> None:
        """Remove a prepared request; pass on a cancel that came too late for `_pause`."""
        with self._changed:
            self._active.remove(task)
            self._changed.notify_all()
        if task.is_cancelled:
            self._preparer.cancel(task.request.request_id)

    def _pause(self, task: _Task) -> None:
        """End a time slice: let all other active requests run first."""
        with self._changed:
            if len(self._active) > 1:
                self._active.rotate(-1)
                self._changed.notify_all()
                self._await_slice(task)
        if task.is_cancelled:
            raise _CancelledError("cancelled")

    def _prepare(self, task: _Task) -> None:
        allowance = Allowance(slice_s=SLICE_S, on_slice=partial(self._pause, task))
        try:
            if task.is_cancelled:
                raise _CancelledError("cancelled")  # noqa: TRY301 - same path as a later cancel
            self._preparer.take(task.request, allowance)
        except _CancelledError:
            self._send(_cancelled(task.request))
        except FrameTooLargeError as error:
            message = f"the answer is too large: {error.message}"
            self._send(failed_event(task.request.request_id, RequestTooCostlyError(message)))
        except LocalrunError as error:
            self._send(failed_event(task.request.request_id, error))
        except Exception:  # noqa: BLE001 - a bug must end one request, not the model's process
            _log.exception("request %s cannot be prepared", task.request.request_id)
            self._send(failed_event(task.request.request_id, LocalrunError(BUG)))


def _cancelled(request: Prepared) -> Terminal:
    if isinstance(request, Generate):
        return cancelled_event(request.request_id)
    return Failed(request_id=request.request_id, code=CANCELLED, message=CANCELLED)
