"""Kept chats of a server: the store behind threads, and the wait for a change.

Each act runs in one of a few threads of its own, so that a store that waits for another process
delays nothing but chats. Invariant: the event loop never opens the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from localrun.conversations.location import keeps_chats, open_conversations
from localrun.errors import OverloadedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NUM_THREADS = 4
MAX_WAITING = 64  # clients that wait for a change
POLL_S = 1.0  # between two looks at what other processes wrote
Values = ParamSpec("Values")
Result = TypeVar("Result")


class StoredChats:
    """The chats of one server; ``is_leaving`` ends the waits when the server stops."""

    def __init__(self, environ: Mapping[str, str], is_leaving: Callable[[], bool]) -> None:
        self.store = open_conversations(environ)
        self._keeps = keeps_chats(environ)
        self._is_leaving = is_leaving
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="chats")
        self._written = asyncio.Event()  # replaced after each write
        self._num_waiting = 0

    async def read(
        self, act: Callable[Values, Result], *args: Values.args, **options: Values.kwargs
    ) -> Result:
        """Return the result of an act on the store, called in a thread."""
        run = contextvars.copy_context().run  # logs have the request's id
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: run(act, *args, **options))

    async def write(
        self, act: Callable[Values, Result], *args: Values.args, **options: Values.kwargs
    ) -> Result:
        """Return the result of an act that changes the store, and wake those who wait for it."""
        result = await self.read(act, *args, **options)
        self._written.set()
        self._written = asyncio.Event()
        return result

    def refuse_unless_kept(self) -> None:
        """Refuse to keep more.

        Raises:
            UsageError: ``LOCALRUN_NOSAVE`` is set.
        """
        if not self._keeps:
            raise UsageError(
                "this server keeps no chats", hint="start it without LOCALRUN_NOSAVE=1"
            )

    async def changed(self, since: int | None, wait_s: float) -> int:
        """Return the revision of the store as soon as it is not ``since``, or after a time.

        Raises:
            OverloadedError: too many clients wait.
        """
        if self._num_waiting >= MAX_WAITING:
            raise OverloadedError(f"{MAX_WAITING} clients wait for changes of chats")
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + wait_s
        self._num_waiting += 1
        try:
            while True:
                written = self._written  # before the read: no write in between is missed
                revision = await self.read(self.store.revision)
                left_s = deadline_s - loop.time()
                if revision != since or left_s <= 0 or self._is_leaving():
                    return revision
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(written.wait(), min(left_s, POLL_S))
        finally:
            self._num_waiting -= 1
