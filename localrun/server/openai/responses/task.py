"""A response while it comes: in a task of its own, whoever listens."""

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

    from localrun.server.core.completions import Completions
    from localrun.server.openai.responses.request import ResponsesCall
    from localrun.server.parsing.fields import JsonObject

_log = logging.getLogger(__name__)


class ResponseTask:
    """One response; ends in exactly one way, by itself or because its task is cancelled."""

    def __init__(self, call: ResponsesCall, completions: Completions) -> None:
        self.call = call
        self.answer = ResponseBuilder(call)
        self.error: LocalrunError | None = None  # what ended it
        self.is_open = False  # the request was not refused
        self._completions = completions
        self._events: asyncio.Queue[list[JsonObject] | None] = asyncio.Queue()
        self.task = asyncio.create_task(self._come())

    async def events(self) -> AsyncGenerator[list[JsonObject], None]:
        """Yield the events, some at a time."""
        while (events := await self._events.get()) is not None:
            yield events

    async def _come(self) -> None:
        try:
            async with contextlib.aclosing(self._completions.stream(self.call.request)) as parts:
                async for part in parts:
                    self.is_open = self.is_open or isinstance(part, AnswerStarted)
                    self._put(self.answer.tell(part))
        except asyncio.CancelledError:
            self._put(self.answer.cancel())
        except LocalrunError as error:
            self._fail(error)
        except Exception:  # noqa: BLE001 - nobody may be there to see it
            _log.exception("the response %s failed", self.answer.id)
            self._fail(bug_error())
        finally:
            self._events.put_nowait(None)

    def _fail(self, error: LocalrunError) -> None:
        self.error = error
        events = self.answer.fail(error)
        if self.is_open:  # else the status of the answer tells it
            self._put(events)

    def _put(self, events: list[JsonObject]) -> None:
        if events and self.call.stream:
            self._events.put_nowait(events)
