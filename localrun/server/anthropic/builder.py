"""An answer in Anthropic's words: as events while it comes, and as a whole.

    message_start, ping, then for each block
        content_block_start, content_block_delta*, content_block_stop
    message_delta, message_stop

A block is a thought, a text or a call of a tool. Law: the blocks of a whole answer are
those that its events add up to. A call that was cut has the arguments that are complete.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.chat.stream_parser import ReasoningPart, TextPart
from localrun.chat.tool_calls import CallArguments, CallBegun, CallCollector
from localrun.engine.params import FinishReason
from localrun.server.core.request import AnswerFinished, AnswerStarted
from localrun.server.extension import extension

if TYPE_CHECKING:
    from localrun.runner.messages import Finished
    from localrun.server.anthropic.request import MessagesCall
    from localrun.server.core.request import Reply
    from localrun.server.parsing.fields import JsonObject


@dataclass(slots=True)
class _Text:
    """A block of text."""

    pieces: list[str] = field(default_factory=list)

    def whole(self) -> JsonObject:
        return {"type": "text", "text": "".join(self.pieces)}


@dataclass(slots=True)
class _Thought:
    """A block of thought; clients want it signed and send it back as it was."""

    pieces: list[str] = field(default_factory=list)

    @property
    def signature(self) -> str:
        return hashlib.sha256("".join(self.pieces).encode()).hexdigest()

    def whole(self) -> JsonObject:
        text = "".join(self.pieces)
        return {"type": "thinking", "thinking": text, "signature": self.signature}


@dataclass(slots=True)
class _Call:
    """A block that calls a tool."""

    name: str
    number: str = field(default_factory=lambda: f"toolu_{secrets.token_hex(12)}")
    arguments: JsonObject | None = None  # None while they are not complete
    pieces: list[str] = field(default_factory=list)  # of their JSON

    def whole(self) -> JsonObject:
        arguments = self.arguments
        if arguments is None:
            arguments = _complete_members("".join(self.pieces))
        return {"type": "tool_use", "id": self.number, "name": self.name, "input": arguments}


class MessageBuilder:
    """Collects the parts of one answer."""

    def __init__(self, call: MessagesCall) -> None:
        self._call = call
        self._id = f"msg_{secrets.token_hex(12)}"
        self._blocks: list[_Text | _Thought | _Call] = []
        self._is_open = False  # the last block
        self._calls = CallCollector()
        self._blank: list[str] = []  # between blocks: nothing, unless text follows
        self._done: AnswerFinished | None = None

    def tell(self, part: Reply) -> list[JsonObject]:
        """Take a part; return the events that tell it."""
        if isinstance(part, TextPart):
            return self._on_text(part.text)
        if isinstance(part, ReasoningPart):
            return self._on_thought(part.text)
        if isinstance(part, CallBegun):
            self._calls.add(part)
            return self._begin(_Call(part.name))
        if isinstance(part, CallArguments):
            return self._on_arguments(part)
        if isinstance(part, AnswerStarted):
            return self._start(part)
        return self._end(part) if isinstance(part, AnswerFinished) else []

    def whole(self) -> JsonObject:
        """Return the answer that was not streamed."""
        content = [block.whole() for block in self._blocks]
        done = [self._done] if self._done else []
        return {
            **self._message(),
            "content": content,
            **self._stop(),
            "usage": _usage(self._done.finished) if self._done else {},
            **extension(done),
        }

    def _message(self) -> JsonObject:
        model = self._call.request.model
        return {"id": self._id, "type": "message", "role": "assistant", "model": model}

    def _start(self, opened: AnswerStarted) -> list[JsonObject]:
        """Return the head; what of the prompt is cached is known at the end only."""
        message = {
            **self._message(),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _counts(opened.prompt_tokens, cached=0, generated=0),
        }
        return [{"type": "message_start", "message": message}, {"type": "ping"}]

    def _end(self, done: AnswerFinished) -> list[JsonObject]:
        self._done = done
        return [
            *self._close(),
            {"type": "message_delta", "delta": self._stop(), "usage": _usage(done.finished)}
            | extension([done]),
            {"type": "message_stop"},
        ]

    def _on_text(self, text: str) -> list[JsonObject]:
        events: list[JsonObject] = []
        if not (self._is_open and isinstance(self._blocks[-1], _Text)):
            self._blank.append(text)
            if not text.strip():
                return []
            text = "".join(self._blank)
            events = self._begin(_Text())
        return [*events, self._delta(text, {"type": "text_delta", "text": text})]

    def _on_thought(self, text: str) -> list[JsonObject]:
        events: list[JsonObject] = []
        if not (self._is_open and isinstance(self._blocks[-1], _Thought)):
            events = self._begin(_Thought())
        if not self._call.shows_thoughts:
            return events
        return [*events, self._delta(text, {"type": "thinking_delta", "thinking": text})]

    def _on_arguments(self, part: CallArguments) -> list[JsonObject]:
        block, call = self._blocks[-1], self._calls.add(part)
        if isinstance(block, _Call):
            block.pieces.append(part.text)
            block.arguments = call.arguments if call else None
        delta = {"type": "input_json_delta", "partial_json": part.text}
        return [self._event("content_block_delta", delta=delta)]

    def _begin(self, block: _Text | _Thought | _Call) -> list[JsonObject]:
        closing, empty = self._close(), block.whole()
        if isinstance(block, _Thought):
            empty["signature"] = ""
        self._blocks.append(block)
        self._is_open, self._blank = True, []
        return [*closing, self._event("content_block_start", content_block=empty)]

    def _delta(self, text: str, delta: JsonObject) -> JsonObject:
        block = self._blocks[-1]
        if not isinstance(block, _Call):
            block.pieces.append(text)
        return self._event("content_block_delta", delta=delta)

    def _close(self) -> list[JsonObject]:
        """Return the end of the block that is open, if one is."""
        if not self._is_open:
            return []
        self._is_open = False
        block, events = self._blocks[-1], []
        if isinstance(block, _Thought):
            delta = {"type": "signature_delta", "signature": block.signature}
            events.append(self._event("content_block_delta", delta=delta))
        return [*events, self._event("content_block_stop")]

    def _event(self, kind: str, **fields: JsonObject) -> JsonObject:
        """Return an event of the last block."""
        return {"type": kind, "index": len(self._blocks) - 1, **fields}

    def _stop(self) -> JsonObject:
        """Return why the answer ended."""
        finished = self._done.finished if self._done else None
        request = self._call.request
        matched = finished.stop if finished and finished.stop in (request.stop or ()) else None
        if any(isinstance(block, _Call) and block.arguments is not None for block in self._blocks):
            reason, matched = "tool_use", None
        elif matched is not None:
            reason = "stop_sequence"
        else:
            reason = "end_turn"
        if finished and finished.reason is FinishReason.LENGTH:
            is_asked = finished.generated_tokens >= (request.num_predict or 0)
            reason = "max_tokens" if is_asked else "model_context_window_exceeded"
        return {"stop_reason": reason, "stop_sequence": matched}


def _complete_members(text: str) -> JsonObject:
    """Return the members of an object that are complete in the beginning of its JSON."""
    from pydantic_core import from_json  # slow to import

    try:
        value = from_json(text, allow_partial=True)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _usage(finished: Finished) -> JsonObject:
    return _counts(
        finished.prompt_tokens,
        cached=finished.cached_tokens,
        generated=finished.generated_tokens,
    )


def _counts(prompt: int, *, cached: int, generated: int) -> JsonObject:
    """Return the counts of tokens; there, what was cached is not part of the input."""
    return {
        "input_tokens": prompt - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": generated,
    }
