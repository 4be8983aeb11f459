"""Completer of the line editor: candidates that are collected in a thread of their own.

A folder or a server that does not answer blocks neither a key nor the end of a prompt: its thread
is left behind. Not more than `MAX_THREADS` of them wait; then there are no completions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from typing import TYPE_CHECKING

from prompt_toolkit.completion import Completer, Completion

from localrun.cli.chatting.prompt.completion.candidates import FoundCompletions
from localrun.terminal import plain

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

MAX_THREADS = 4
_log = logging.getLogger(__name__)


class ChatCompleter(Completer):
    """Completer by a function from the text before the cursor."""

    def __init__(self, complete: Callable[[str], FoundCompletions]) -> None:
        self._complete = complete
        self._free_threads = threading.Semaphore(MAX_THREADS)

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        """Yield the completions; may block."""
        del complete_event
        yield from _completions(self._complete(document.text_before_cursor))

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """Yield the completions when they are there."""
        del complete_event
        if not self._free_threads.acquire(blocking=False):
            return
        loop = asyncio.get_running_loop()
        result: asyncio.Future[FoundCompletions] = loop.create_future()
        threading.Thread(
            target=self._run,
            args=(document.text_before_cursor, loop, result),
            name="completion",
            daemon=True,
        ).start()
        for each in _completions(await result):
            yield each

    def _run(
        self, text: str, loop: asyncio.AbstractEventLoop, result: asyncio.Future[FoundCompletions]
    ) -> None:
        found = FoundCompletions()
        try:
            found = self._complete(text)
        except Exception:  # noqa: BLE001 - a source that fails costs its completions only
            _log.debug("no completions", exc_info=True)
        finally:
            self._free_threads.release()
            with contextlib.suppress(RuntimeError):  # the prompt has ended meanwhile
                loop.call_soon_threadsafe(_set, result, found)


def _set(result: asyncio.Future[FoundCompletions], found: FoundCompletions) -> None:
    if not result.done():
        result.set_result(found)


def _completions(found: FoundCompletions) -> Iterator[Completion]:
    for each in found.candidates:
        yield Completion(
            each.text,
            start_position=-found.replaced,
            display=plain(each.text),
            display_meta=plain(each.description),
        )
