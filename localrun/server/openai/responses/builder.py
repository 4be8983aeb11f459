"""An answer in the words of OpenAI's Responses: as events while it comes, and as a whole.

    response.created, response.in_progress, the events of each item (see `blocks`),
    response.completed | response.incomplete | response.failed

Law: the items of the whole answer are those that ``output_item.done`` told.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from localrun.chat.stream_parser import ReasoningPart, TextPart
from localrun.chat.tool_calls import CallArguments, CallBegun
from localrun.engine.params import FinishReason
from localrun.server.core.request import AnswerFinished, AnswerStarted, TokenScores
from localrun.server.extension import extension
from localrun.server.openai.responses.blocks import COMPLETED, IN_PROGRESS, INCOMPLETE
from localrun.server.openai.responses.call_items import call_block
from localrun.server.openai.responses.text_items import MessageItem, ReasoningItem

if TYPE_CHECKING:
    from localrun.errors import LocalrunError
    from localrun.runner.messages import Finished, Score
    from localrun.server.core.request import Reply
    from localrun.server.openai.responses.blocks import Block
    from localrun.server.openai.responses.request import ResponsesCall
    from localrun.server.parsing.fields import JsonObject

QUEUED, FAILED, CANCELLED = "queued", "failed", "cancelled"
FIRST_OF_SERVER = 500


class ResponseBuilder:
    """Collects the parts of one answer."""

    def __init__(self, call: ResponsesCall) -> None:
        self._call = call
        self.id = f"resp_{secrets.token_hex(24)}"
        self.status = QUEUED
        self._created_at = int(time.time())
        self._completed_at: int | None = None
        self._error: JsonObject | None = None
        self._blocks: list[Block] = []
        self._is_open = False  # the last block
        self._blank: list[str] = []  # between blocks: nothing, unless text follows
        self._scores: list[Score] = []  # of the text that comes next
        self._done: AnswerFinished | None = None
        self._num_events = 0

    def tell(self, part: Reply) -> list[JsonObject]:
        """Take a part; return the events that tell it."""
        return self._numbered(self._told(part))

    def fail(self, error: LocalrunError) -> list[JsonObject]:
        """Take an error in the middle; return the last events."""
        code = "server_error" if error.http_status >= FIRST_OF_SERVER else error.code
        hint = f" ({error.hint})" if error.hint else ""
        self._error = {"code": code, "message": error.message + hint}
        return self._numbered([*self._close(INCOMPLETE), self._finish(FAILED)])

    def cancel(self) -> list[JsonObject]:
        """Take the wish of a client that it ends; return the last events."""
        return self._numbered([*self._close(INCOMPLETE), self._finish(CANCELLED, INCOMPLETE)])

    def whole(self) -> JsonObject:
        """Return the response as it is now."""
        done, is_cut = self._done, self.status == INCOMPLETE
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created_at,
            "completed_at": self._completed_at,
            "status": self.status,
            "error": self._error,
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "output": [block.item() for block in self._blocks],
            "usage": _usage(done.finished) if done else None,
            **self._call.repeated,
            **extension([done] if done else []),
        }

    def _told(self, part: Reply) -> list[JsonObject]:
        if isinstance(part, TextPart):
            return self._on_text(part.text)
        if isinstance(part, ReasoningPart):
            return self._on_thought(part.text)
        if isinstance(part, CallBegun):
            return self._begin(call_block(self._call.tools.called(part.name)))
        if isinstance(part, CallArguments):
            return self._on_arguments(part)
        if isinstance(part, TokenScores):
            self._scores += part.scores
        if isinstance(part, AnswerStarted):
            return self._start()
        return self._end(part) if isinstance(part, AnswerFinished) else []

    def _start(self) -> list[JsonObject]:
        self.status = IN_PROGRESS
        return [
            {"type": f"response.{name}", "response": self.whole()}
            for name in ("created", IN_PROGRESS)
        ]

    def _end(self, done: AnswerFinished) -> list[JsonObject]:
        self._done = done
        is_cut = done.finished.reason is FinishReason.LENGTH
        status = INCOMPLETE if is_cut else COMPLETED
        return [*self._close(status), self._finish(status)]

    def _finish(self, status: str, event: str | None = None) -> JsonObject:
        """Return the last event; for some ends there is none, but one that clients know."""
        self.status = status
        if status == COMPLETED:
            self._completed_at = int(time.time())
        return {"type": f"response.{event or status}", "response": self.whole()}

    def _on_text(self, text: str) -> list[JsonObject]:
        events: list[JsonObject] = []
        message = self._blocks[-1] if self._is_open else None
        if not isinstance(message, MessageItem):
            self._blank.append(text)
            if not text.strip():
                return []
            text = "".join(self._blank)
            message = MessageItem()
            events = self._begin(message, forgets_scores=False)
        message.score(self._scores)
        self._scores = []
        return [*events, *self._placed(message.push(text))]

    def _on_thought(self, text: str) -> list[JsonObject]:
        events: list[JsonObject] = []
        thought = self._blocks[-1] if self._is_open else None
        if not isinstance(thought, ReasoningItem):
            thought = ReasoningItem(summarizes=self._call.summarizes, seals=self._call.seals)
            events = self._begin(thought)
        self._scores = []
        return [*events, *self._placed(thought.push(text))]

    def _on_arguments(self, part: CallArguments) -> list[JsonObject]:
        self._scores = []
        events = self._placed(self._blocks[-1].push(part.text))
        if part.is_last:
            self._is_open = False
            events += self._placed(self._blocks[-1].end(COMPLETED))
        return events

    def _begin(self, block: Block, *, forgets_scores: bool = True) -> list[JsonObject]:
        closing = self._close(COMPLETED)
        self._blocks.append(block)
        self._is_open, self._blank = True, []
        if forgets_scores:
            self._scores = []
        return [*closing, *self._placed(block.begin())]

    def _close(self, status: str) -> list[JsonObject]:
        """Return the end of the block that is open; a call that is still open was broken off."""
        if not self._is_open:
            return []
        self._is_open = False
        block = self._blocks[-1]
        is_said = isinstance(block, MessageItem | ReasoningItem)
        return self._placed(block.end(status if is_said else INCOMPLETE))

    def _placed(self, events: list[JsonObject]) -> list[JsonObject]:
        """Return events of the last block with its place among the items."""
        for event in events:
            event["output_index"] = len(self._blocks) - 1
        return events

    def _numbered(self, events: list[JsonObject]) -> list[JsonObject]:
        for event in events:
            event["sequence_number"] = self._num_events
            self._num_events += 1
        return events


def _usage(finished: Finished) -> JsonObject:
    return {
        "input_tokens": finished.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": finished.cached_tokens,
            "cache_write_tokens": 0,
        },
        "output_tokens": finished.generated_tokens,
        "output_tokens_details": {"reasoning_tokens": finished.thought_tokens},
        "total_tokens": finished.prompt_tokens + finished.generated_tokens,
    }
