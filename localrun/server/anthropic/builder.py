"""Answers of ``/v1/messages``: streamed events, and the whole message.

    message_start, ping, then for each block
        content_block_start, content_block_delta*, content_block_stop
    message_delta, message_stop

A block is reasoning, text or a tool call. The blocks of the whole message are the blocks that the
events add up to. A tool call that was cut off has the arguments that are complete.
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
from localrun.server.reply_fields import Usage, extension

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.anthropic.request import MessagesCall
    from localrun.server.core.request import Reply


@dataclass(slots=True)
class _TextBlock:
    """Text."""

    pieces: list[str] = field(default_factory=list)

    def body(self) -> JsonObject:
        return {"type": "text", "text": "".join(self.pieces)}


@dataclass(slots=True)
class _ThinkingBlock:
    """Reasoning; clients expect a signature and send the block back unchanged."""

    pieces: list[str] = field(default_factory=list)

    @property
    def signature(self) -> str:
        return hashlib.sha256("".join(self.pieces).encode()).hexdigest()

    def body(self) -> JsonObject:
        text = "".join(self.pieces)
        return {"type": "thinking", "thinking": text, "signature": self.signature}


@dataclass(slots=True)
class _ToolUseBlock:
    """A tool call."""

    name: str
    id: str = field(default_factory=lambda: f"toolu_{secrets.token_hex(12)}")
    arguments: JsonObject | None = None  # None until they are complete
    pieces: list[str] = field(default_factory=list)  # of the arguments' JSON

    def body(self) -> JsonObject:
        arguments = self.arguments
        if arguments is None:
            arguments = _complete_members("".join(self.pieces))
        return {"type": "tool_use", "id": self.id, "name": self.name, "input": arguments}


class MessageBuilder:
    """The blocks of one message."""

    def __init__(self, call: MessagesCall) -> None:
        self._call = call
        self._id = f"msg_{secrets.token_hex(12)}"
        self._blocks: list[_TextBlock | _ThinkingBlock | _ToolUseBlock] = []
        self._is_open = False  # whether the last block is open
        self._calls = CallCollector()
        self._blank: list[str] = []  # white space between blocks: sent only if text follows
        self._end: AnswerFinished | None = None

    def events_of(self, part: Reply) -> list[JsonObject]:
        """Add a part and return its events."""
        if isinstance(part, TextPart):
            return self._on_text(part.text)
        if isinstance(part, ReasoningPart):
            return self._on_thought(part.text)
        if isinstance(part, CallBegun):
            self._calls.add(part)
            return self._begin(_ToolUseBlock(part.name))
        if isinstance(part, CallArguments):
            return self._on_arguments(part)
        if isinstance(part, AnswerStarted):
            return self._start(part)
        return self._finish(part) if isinstance(part, AnswerFinished) else []

    def message(self) -> JsonObject:
        """Return the whole message."""
        ends = [self._end] if self._end else []
        return {
            **self._head(),
            "content": [block.body() for block in self._blocks],
            **self._stop(),
            "usage": _usage(Usage.of(ends)) if ends else {},
            **extension(ends),
        }

    def _head(self) -> JsonObject:
        model = self._call.request.model
        return {"id": self._id, "type": "message", "role": "assistant", "model": model}

    def _start(self, started: AnswerStarted) -> list[JsonObject]:
        """Return the first events; the number of cached tokens is known only at the end."""
        message = {
            **self._head(),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(Usage(prompt_tokens=started.prompt_tokens)),
        }
        return [{"type": "message_start", "message": message}, {"type": "ping"}]

    def _finish(self, end: AnswerFinished) -> list[JsonObject]:
        self._end = end
        usage = _usage(Usage.of([end]))
        return [
            *self._close(),
            {"type": "message_delta", "delta": self._stop(), "usage": usage} | extension([end]),
            {"type": "message_stop"},
        ]

    def _on_text(self, text: str) -> list[JsonObject]:
        events: list[JsonObject] = []
        if not (self._is_open and isinstance(self._blocks[-1], _TextBlock)):
            self._blank.append(text)
            if not text.strip():
                return []
            text = "".join(self._blank)
            events = self._begin(_TextBlock())
        return [*events, self._delta(text, {"type": "text_delta", "text": text})]

    def _on_thought(self, text: str) -> list[JsonObject]:
        events: list[JsonObject] = []
        if not (self._is_open and isinstance(self._blocks[-1], _ThinkingBlock)):
            events = self._begin(_ThinkingBlock())
        if not self._call.shows_thoughts:
            return events
        return [*events, self._delta(text, {"type": "thinking_delta", "thinking": text})]

    def _on_arguments(self, part: CallArguments) -> list[JsonObject]:
        block, call = self._blocks[-1], self._calls.add(part)
        if isinstance(block, _ToolUseBlock):
            block.pieces.append(part.text)
            block.arguments = call.arguments if call else None
        delta = {"type": "input_json_delta", "partial_json": part.text}
        return [self._event("content_block_delta", delta=delta)]

    def _begin(self, block: _TextBlock | _ThinkingBlock | _ToolUseBlock) -> list[JsonObject]:
        closing, empty = self._close(), block.body()
        if isinstance(block, _ThinkingBlock):
            empty["signature"] = ""
        self._blocks.append(block)
        self._is_open, self._blank = True, []
        return [*closing, self._event("content_block_start", content_block=empty)]

    def _delta(self, text: str, delta: JsonObject) -> JsonObject:
        block = self._blocks[-1]
        if not isinstance(block, _ToolUseBlock):
            block.pieces.append(text)
        return self._event("content_block_delta", delta=delta)

    def _close(self) -> list[JsonObject]:
        """Return the last events of the open block, [] if no block is open."""
        if not self._is_open:
            return []
        self._is_open = False
        block, events = self._blocks[-1], []
        if isinstance(block, _ThinkingBlock):
            delta = {"type": "signature_delta", "signature": block.signature}
            events.append(self._event("content_block_delta", delta=delta))
        return [*events, self._event("content_block_stop")]

    def _event(self, kind: str, **fields: JsonObject) -> JsonObject:
        """Return an event of the last block."""
        return {"type": kind, "index": len(self._blocks) - 1, **fields}

    def _stop(self) -> JsonObject:
        """Return the stop reason and the matched stop sequence."""
        finished = self._end.finished if self._end else None
        request = self._call.request
        matched = finished.stop if finished and finished.stop in (request.stop or ()) else None
        if any(_is_complete_call(block) for block in self._blocks):
            reason, matched = "tool_use", None
        elif matched is not None:
            reason = "stop_sequence"
        else:
            reason = "end_turn"
        if finished and finished.reason is FinishReason.LENGTH:
            is_limit = finished.generated_tokens >= (request.num_predict or 0)
            reason = "max_tokens" if is_limit else "model_context_window_exceeded"
        return {"stop_reason": reason, "stop_sequence": matched}


def _is_complete_call(block: _TextBlock | _ThinkingBlock | _ToolUseBlock) -> bool:
    return isinstance(block, _ToolUseBlock) and block.arguments is not None


def _complete_members(text: str) -> JsonObject:
    """Return the complete members of a JSON object that was cut off."""
    from pydantic_core import from_json  # slow to import

    try:
        value = from_json(text, allow_partial=True)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _usage(usage: Usage) -> JsonObject:
    """Return the token counts; in this API cached tokens are not input tokens."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.generated_tokens,
    }
