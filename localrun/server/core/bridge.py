"""The bridge between asyncio and the blocking pool of runners.

Owns the threads in which requests are prepared and submitted. Events of a request come from a
runner's thread and cross to the event loop by one ``call_soon_threadsafe`` each. Invariant: a
request whose consumer leaves before its terminal event is cancelled, also if it is being submitted
at that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from localrun.errors import BackendError, error_named
from localrun.remote.completion import RemoteCompletion
from localrun.remote.model import RemoteTarget, RemoteTokens
from localrun.runner.messages import Embeddings, Failed, Finished, Ranks, Terminal, Tokens
from localrun.server.core.client import current_client, is_background

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from localrun.runner.messages import Event, Submitted
    from localrun.supervisor.model import RequestOptions, RunnerModel
    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.slots.request_queue import RequestHandle

NUM_THREADS = 64  # at once prepared (files of models are read), submitted or cancelled
T = TypeVar("T", Finished, Tokens, Embeddings, Ranks)
Elsewhere = RemoteCompletion | RemoteTarget | RemoteTokens  # prepared, and answered by no runner


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRequest:
    """A request for the runner of a model; without a message it only loads the model."""

    model: RunnerModel
    message: Submitted | None
    options: RequestOptions


class EventStream:
    """The events of one submitted request."""

    def __init__(self, events: asyncio.Queue[Event], handle: RequestHandle) -> None:
        self._events = events
        self._handle = handle
        self._last: Event | None = None

    @property
    def load_s(self) -> float:
        """Return the seconds that the request waited for its model; known with the first event."""
        return self._handle.load_s

    @property
    def is_over(self) -> bool:
        """Return whether the terminal event has been received."""
        return isinstance(self._last, Terminal)

    async def receive(self) -> Event:
        """Return the next event.

        Raises:
            LocalrunError: the request failed.
        """
        event = self._last = await self._events.get()
        if isinstance(event, Failed):
            raise error_named(event.code, event.message, hint=event.hint, param=event.param)
        return event


class Bridge:
    """Submits requests to a pool for coroutines."""

    def __init__(self, pool: RunnerPool) -> None:
        self._pool = pool
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="submit")

    @contextlib.asynccontextmanager
    async def submitted(
        self, prepare: Callable[[], PoolRequest | Elsewhere]
    ) -> AsyncGenerator[EventStream | Elsewhere, None]:
        """Submit the request that ``prepare`` returns, and cancel it if it outlives the block.

        ``prepare`` may block: it is called in a thread, in the context of the caller. A request
        that no runner answers is yielded as it is.

        Raises:
            LocalrunError: ``prepare`` failed, or the pool refuses the request.
        """
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()

        def sink(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so there is no consumer
                loop.call_soon_threadsafe(events.put_nowait, event)

        run = contextvars.copy_context().run  # logs have the request's id
        submission = loop.run_in_executor(self._threads, run, self._submit, prepare, sink)
        try:
            handle = await asyncio.shield(submission)
        except asyncio.CancelledError:
            submission.add_done_callback(self._cancel_late)
            raise
        if isinstance(handle, Elsewhere):
            yield handle
            return
        stream = EventStream(events, handle)
        try:
            yield stream
        finally:
            if not stream.is_over:
                self._threads.submit(handle.cancel)  # blocks while the runner's socket is full

    async def answer(self, prepare: Callable[[], PoolRequest], kind: type[T]) -> tuple[T, float]:
        """Return the terminal event of a request, and the seconds that its model took to load.

        Raises:
            LocalrunError: as for `submitted`, or the request failed.
        """
        async with self.submitted(prepare) as events:
            if not isinstance(events, EventStream):
                raise TypeError(f"no runner answers {type(events).__name__}")
            return await end_of(events, kind), events.load_s

    async def load(self, prepare: Callable[[], PoolRequest]) -> float:
        """Load a model; return the seconds that took.

        The load is broken off if the caller is cancelled and no other request waits for it.

        Raises:
            LocalrunError: as for `submitted`, or the model does not load.
        """
        _, load_s = await self.answer(prepare, Finished)
        return load_s

    async def unload(self, name: str) -> bool:
        """Unload a model; return whether it was loaded."""
        return await asyncio.to_thread(self._pool.unload, name)

    def _submit(
        self, prepare: Callable[[], PoolRequest | Elsewhere], sink: Callable[[Event], None]
    ) -> RequestHandle | Elsewhere:
        request = prepare()
        if isinstance(request, Elsewhere):
            return request
        options = replace(request.options, client=current_client(), is_background=is_background())
        if request.message is None:
            return self._pool.submit_load(request.model, sink, options)
        return self._pool.submit(request.model, request.message, sink, options)

    def _cancel_late(self, submission: asyncio.Future[RequestHandle | Elsewhere]) -> None:
        if submission.cancelled() or submission.exception() is not None:
            return
        handle = submission.result()
        if not isinstance(handle, Elsewhere):
            self._threads.submit(handle.cancel)


async def end_of(events: EventStream, kind: type[T]) -> T:
    """Return the terminal event of a request.

    Raises:
        LocalrunError: the request failed.
    """
    event = await events.receive()
    while not isinstance(event, Terminal):
        event = await events.receive()
    if not isinstance(event, kind):
        raise BackendError(f"the runner answered with {type(event).__name__}")
    return event
