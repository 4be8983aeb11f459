"""Answers of ``/v1/responses``: streamed events, and the whole response.

    response.created, response.in_progress, the events of each item (see `output_items`),
    response.completed | response.incomplete | response.failed

The items of the whole response are the items of the ``output_item.done`` events.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from localrun.chat.stream_parser import ReasoningPart, TextPart
from localrun.chat.tool_calls import CallArguments, CallBegun
from localrun.engine.params import FinishReason
from localrun.server.core.request import AnswerFinished, AnswerStarted, TokenScores
from localrun.server.openai.responses.call_items import call_item
from localrun.server.openai.responses.output_items import COMPLETED, IN_PROGRESS, INCOMPLETE
from localrun.server.openai.responses.text_items import MessageItem, ReasoningItem
from localrun.server.reply_fields import Usage, extension

if TYPE_CHECKING:
    from localrun.errors import LocalrunError
    from localrun.runner.messages import JsonObject, Score
    from localrun.server.core.request import Reply
    from localrun.server.openai.responses.output_items import OutputItem
    from localrun.server.openai.responses.request import ResponsesCall

QUEUED, FAILED, CANCELLED = "queued", "failed", "cancelled"
FIRST_OF_SERVER = 500


class ResponseBuilder:
    """One response while it is generated; always complete enough to be returned."""

    def __init__(self, call: ResponsesCall) -> None:
        self._call = call
        self.id = f"resp_{secrets.token_hex(24)}"
        self.status = QUEUED
        self._created_at = int(time.time())
        self._completed_at: int | None = None
        self._error: JsonObject | None = None
        self._items: list[OutputItem] = []
        self._is_open = False  # whether the last item is open
        self._blank: list[str] = []  # white space between items: sent only if text follows
        self._scores: list[Score] = []  # of the next piece of text
        self._end: AnswerFinished | None = None
        self._num_events = 0

    def events_of(self, part: Reply) -> list[JsonObject]:
        """Add a part and return its events."""
        return self._numbered(self._add(part))

    def fail(self, error: LocalrunError) -> list[JsonObject]:
        """End the response by an error; return the last events."""
        code = "server_error" if error.http_status >= FIRST_OF_SERVER else error.code
        hint = f" ({error.hint})" if error.hint else ""
        self._error = {"code": code, "message": error.message + hint}
        return self._numbered([*self._close(INCOMPLETE), self._finish(FAILED)])

    def cancel(self) -> list[JsonObject]:
        """End the response because it was cancelled; return the last events."""
        return self._numbered([*self._close(INCOMPLETE), self._finish(CANCELLED, INCOMPLETE)])

    def response(self) -> JsonObject:
        """Return the response as far as it is generated."""
        ends, is_cut = [self._end] if self._end else [], self.status == INCOMPLETE
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created_at,
            "completed_at": self._completed_at,
            "status": self.status,
            "error": self._error,
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "output": [item.item() for item in self._items],
            "usage": _usage(Usage.of(ends)) if ends else None,
            **self._call.repeated,
            **extension(ends),
        }

    def _add(self, part: Reply) -> list[JsonObject]:
        if isinstance(part, TextPart):
            return self._on_text(part.text)
        if isinstance(part, ReasoningPart):
            return self._on_reasoning(part.text)
        if isinstance(part, CallBegun):
            return self._begin(call_item(self._call.tools.called(part.name)))
        if isinstance(part, CallArguments):
            return self._on_arguments(part)
        if isinstance(part, TokenScores):
            self._scores += part.scores
        if isinstance(part, AnswerStarted):
            return self._start()
        return self._end_with(part) if isinstance(part, AnswerFinished) else []

    def _start(self) -> list[JsonObject]:
        self.status = IN_PROGRESS
        return [
            {"type": f"response.{name}", "response": self.response()}
            for name in ("created", IN_PROGRESS)
        ]

    def _end_with(self, end: AnswerFinished) -> list[JsonObject]:
        self._end = end
        is_cut = end.finished.reason is FinishReason.LENGTH
        status = INCOMPLETE if is_cut else COMPLETED
        return [*self._close(status), self._finish(status)]

    def _finish(self, status: str, event: str | None = None) -> JsonObject:
        """Return the last event; ``event`` names it if clients know no event of the status."""
        self.status = status
        if status == COMPLETED:
            self._completed_at = int(time.time())
        return {"type": f"response.{event or status}", "response": self.response()}

    def _on_text(self, text: str) -> list[JsonObject]:
        events: list[JsonObject] = []
        message = self._items[-1] if self._is_open else None
        if not isinstance(message, MessageItem):
            self._blank.append(text)
            if not text.strip():
                return []
            text = "".join(self._blank)
            message = MessageItem()
            events = self._begin(message, drops_scores=False)
        message.add_scores(self._scores)
        self._scores = []
        return [*events, *self._placed(message.push(text))]

    def _on_reasoning(self, text: str) -> list[JsonObject]:
        events: list[JsonObject] = []
        reasoning = self._items[-1] if self._is_open else None
        if not isinstance(reasoning, ReasoningItem):
            reasoning = ReasoningItem(summarizes=self._call.summarizes, seals=self._call.seals)
            events = self._begin(reasoning)
        self._scores = []
        return [*events, *self._placed(reasoning.push(text))]

    def _on_arguments(self, part: CallArguments) -> list[JsonObject]:
        self._scores = []
        events = self._placed(self._items[-1].push(part.text))
        if part.is_last:
            self._is_open = False
            events += self._placed(self._items[-1].end(COMPLETED))
        return events

    def _begin(self, item: OutputItem, *, drops_scores: bool = True) -> list[JsonObject]:
        closing = self._close(COMPLETED)
        self._items.append(item)
        self._is_open, self._blank = True, []
        if drops_scores:
            self._scores = []
        return [*closing, *self._placed(item.begin())]

    def _close(self, status: str) -> list[JsonObject]:
        """Return the last events of the open item; a tool call that is open is incomplete."""
        if not self._is_open:
            return []
        self._is_open = False
        item = self._items[-1]
        is_text = isinstance(item, MessageItem | ReasoningItem)
        return self._placed(item.end(status if is_text else INCOMPLETE))

    def _placed(self, events: list[JsonObject]) -> list[JsonObject]:
        """Add the index of the last item to its events."""
        for event in events:
            event["output_index"] = len(self._items) - 1
        return events

    def _numbered(self, events: list[JsonObject]) -> list[JsonObject]:
        for event in events:
            event["sequence_number"] = self._num_events
            self._num_events += 1
        return events


def _usage(usage: Usage) -> JsonObject:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.generated_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
