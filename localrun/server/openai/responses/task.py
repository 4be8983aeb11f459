"""Generation of one response in an asyncio task of its own, independent of its client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError
from localrun.server.core.request import AnswerStarted
from localrun.server.errors import bug_error
from localrun.server.openai.responses.builder import ResponseBuilder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from localrun.runner.messages import JsonObject
    from localrun.server.core.completions import Completions
    from localrun.server.openai.responses.request import ResponsesCall

_log = logging.getLogger(__name__)


class ResponseTask:
    """One response; ends exactly once: completed, failed, or cancelled with its task."""

    def __init__(self, call: ResponsesCall, completions: Completions) -> None:
        self.call = call
        self.builder = ResponseBuilder(call)
        self.error: LocalrunError | None = None  # of a failed response
        self.is_accepted = False  # the model is loaded and the prompt fits
        self._completions = completions
        self._events: asyncio.Queue[list[JsonObject] | None] = asyncio.Queue()
        self.task = asyncio.create_task(self._generate())

    async def events(self) -> AsyncGenerator[list[JsonObject], None]:
        """Yield the events of each part until the response has ended."""
        while (events := await self._events.get()) is not None:
            yield events

    async def _generate(self) -> None:
        try:
            async with contextlib.aclosing(self._completions.stream(self.call.request)) as parts:
                async for part in parts:
                    self.is_accepted = self.is_accepted or isinstance(part, AnswerStarted)
                    self._put(self.builder.events_of(part))
        except asyncio.CancelledError:
            self._put(self.builder.cancel())
        except LocalrunError as error:
            self._fail(error)
        except Exception:  # noqa: BLE001 - nobody may await the task
            _log.exception("the response %s failed", self.builder.id)
            self._fail(bug_error())
        finally:
            self._events.put_nowait(None)

    def _fail(self, error: LocalrunError) -> None:
        self.error = error
        events = self.builder.fail(error)
        if self.is_accepted:  # else the HTTP status reports the error
            self._put(events)

    def _put(self, events: list[JsonObject]) -> None:
        if events and self.call.stream:
            self._events.put_nowait(events)
