"""Events of one streamed answer of an engine, each a JSON object.

An engine that ignores ``stream`` and answers with one JSON object is understood too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from localrun.remote.errors import RemoteEngineError, event_error, malformed, unreachable
from localrun.remote.lines import DONE, EventLines, EventTooLongError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from localrun.remote.http import EngineRequest, EngineResponse

EVENT_STREAM, JSON = "text/event-stream", "application/json"
SMALL_BODY = 64 << 10  # bytes that are parsed on the event loop
DRAIN_S = 0.2  # for the end of the body after the last event


class AnswerEvents:
    """Reader of one response; `is_complete` once the engine has said that it is done."""

    def __init__(self, request: EngineRequest, response: EngineResponse) -> None:
        self._request = request
        self._response = response
        self.is_complete = False

    async def read(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the events until the answer is done.

        Raises:
            LocalrunError: the engine reports an error, breaks off, or sends something else.
        """
        media_type = self._response.media_type
        if media_type == JSON:
            yield self._checked(await parse_json(await self._response.body(), self._request))
            self.is_complete = True
            return
        if media_type not in {EVENT_STREAM, ""}:
            raise self._malformed(f"answers with {media_type[:100]!r}, not with events")
        lines = EventLines()
        async with contextlib.aclosing(self._response.pieces()) as pieces:
            async for piece in pieces:
                for event in self._events(lines, piece):
                    yield event
                if self.is_complete:
                    await _drain(pieces)
                    return
        for event in self._parsed(lines.finish()):
            yield event

    def _events(self, lines: EventLines, piece: bytes) -> Iterable[dict[str, Any]]:
        try:
            return self._parsed(lines.push(piece))
        except EventTooLongError as error:
            raise self._malformed(f"sends an answer that is malformed: {error}") from error

    def _parsed(self, events: Iterable[bytes]) -> list[dict[str, Any]]:
        parsed: list[dict[str, Any]] = []
        for data in events:
            if data.strip() == DONE:
                self.is_complete = True
                break
            try:
                value = json.loads(data)
            except (ValueError, RecursionError) as error:
                raise self._malformed("sends an event that is not JSON") from error
            parsed.append(self._checked(value))
        return parsed

    def _checked(self, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._malformed("sends an event that is not an object")
        if value.get("error") or value.get("object") == "error":
            raise event_error(self._request.name, self._request.address, value, self._request.key)
        return value

    def _malformed(self, what: str) -> RemoteEngineError:
        return malformed(self._request.name, self._request.address, what)


async def parse_json(body: bytes, request: EngineRequest) -> Any:  # noqa: ANN401 - any JSON
    """Return the value of a body; a large one is parsed in a thread.

    Raises:
        RemoteEngineError: it is not JSON.
    """
    try:
        if len(body) <= SMALL_BODY:
            return json.loads(body)
        return await asyncio.to_thread(json.loads, body)
    except (ValueError, RecursionError) as error:
        if not body:
            said = "closed the connection without an answer"
            raise unreachable(request.name, request.address, said) from error
        said = "answers with something that is not JSON"
        raise malformed(request.name, request.address, said) from error


async def _drain(pieces: AsyncGenerator[bytes, None]) -> None:
    """Read the end of a body, so that its connection can be used again."""
    with contextlib.suppress(TimeoutError, RemoteEngineError):
        async with asyncio.timeout(DRAIN_S):
            async for _ in pieces:
                pass
