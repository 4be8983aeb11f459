"""Answers of ``/v1/chat/completions``: streamed chunks, and the whole completion.

The text of all chunks of a choice is the text of the whole choice. The last chunk of a choice has
its finish reason; token counts are an event of their own.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING

from localrun.chat.stream_parser import ReasoningPart, TextPart
from localrun.chat.tool_calls import CallArguments, CallBegun
from localrun.server.core.request import AnswerFinished, AnswerStarted, TokenScores
from localrun.server.framing import sse_event
from localrun.server.openai.legacy import with_functions
from localrun.server.reply_fields import Usage, extension, new_call_id, timings, token_logprob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.runner.messages import JsonObject, Score
    from localrun.server.core.request import Reply


class ChatCompletionBuilder:
    """All choices of one request."""

    def __init__(self, model: str, count: int, *, is_legacy: bool = False) -> None:
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": "localrun",
        }
        self._choices = [
            _ChatChoice(self._head, index, is_legacy=is_legacy) for index in range(count)
        ]

    def add(self, index: int, part: Reply) -> None:
        """Add a part to a choice."""
        self._choices[index].add(part)

    def event_of(self, index: int, part: Reply) -> bytes | None:
        """Add a part to a choice; return its event, None if the part has no event."""
        choice = self._choices[index]
        delta = choice.add(part)
        if delta is not None:
            return choice.event(delta)
        if isinstance(part, AnswerStarted):
            return sse_event(choice.chunk({"role": "assistant", "content": ""}))
        if isinstance(part, AnswerFinished):
            fields = {"timings": timings([part]), **extension([part])}
            return sse_event(choice.chunk({}, finish_reason=choice.finish_reason) | fields)
        return None

    def usage_event(self) -> bytes:
        """Return the event with the token counts, which has no choices."""
        body = {**self._head, "object": "chat.completion.chunk", "choices": []}
        return sse_event({**body, "usage": usage_json(self._finished)})

    def completion(self) -> JsonObject:
        """Return the whole completion."""
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice.body() for choice in self._choices],
            "usage": usage_json(self._finished),
            "timings": timings(self._finished),
            **extension(self._finished),
        }

    @property
    def _finished(self) -> list[AnswerFinished]:
        return [choice.end for choice in self._choices if choice.end]


class _ChatChoice:
    """The parts of one answer."""

    def __init__(self, head: JsonObject, index: int, *, is_legacy: bool) -> None:
        self._head = head
        self._is_legacy = is_legacy
        self._index = index
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[_ToolCall] = []
        self._scores: list[Score] = []
        self._num_sent_scores = 0
        self.end: AnswerFinished | None = None
        # rpartition: the name of the model, before the last "delta", may contain any text
        before, key, after = sse_event(self.chunk({})).rpartition(b'"delta": ')
        self._before, self._after = before + key, after.removeprefix(b"{}")

    @property
    def finish_reason(self) -> str:
        """Return the finish reason of the choice."""
        if self._calls and self._calls[-1].is_complete:
            return "function_call" if self._is_legacy else "tool_calls"
        return self.end.finished.reason.value if self.end else "stop"

    def add(self, part: Reply) -> JsonObject | None:
        """Add a part; return its delta, None if the part has no delta."""
        if isinstance(part, TextPart):
            self._text.append(part.text)
            return {"content": part.text}
        if isinstance(part, ReasoningPart):
            self._reasoning.append(part.text)
            return {"reasoning_content": part.text}
        if isinstance(part, CallBegun):
            return self._begin_call(part)
        if isinstance(part, CallArguments):
            return self._extend_call(part)
        if isinstance(part, TokenScores):
            self._scores += part.scores
        elif isinstance(part, AnswerFinished):
            self.end = part
        return None

    def _begin_call(self, part: CallBegun) -> JsonObject:
        self._calls.append(_ToolCall(part.name))
        return {"tool_calls": [{"index": len(self._calls) - 1, **self._calls[-1].body()}]}

    def _extend_call(self, part: CallArguments) -> JsonObject:
        self._calls[-1].add(part)
        index = len(self._calls) - 1
        return {"tool_calls": [{"index": index, "function": {"arguments": part.text}}]}

    def chunk(self, delta: JsonObject, *, finish_reason: str | None = None) -> JsonObject:
        """Return a streamed chunk, with the log probabilities that were not sent yet."""
        choice = {
            "index": self._index,
            "delta": with_functions(delta) if self._is_legacy else delta,
            "logprobs": self._unsent_logprobs(),
            "finish_reason": finish_reason,
        }
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def event(self, delta: JsonObject) -> bytes:
        """Return a streamed chunk as an event; encodes only the delta, at half the cost."""
        if self._is_legacy or self._num_sent_scores < len(self._scores):
            return sse_event(self.chunk(delta))
        return self._before + json.dumps(delta, ensure_ascii=False).encode() + self._after

    def body(self) -> JsonObject:
        """Return the whole choice."""
        text = "".join(self._text)
        message: JsonObject = {
            "role": "assistant",
            "content": text if text or not self._calls else None,
            "refusal": None,
        }
        if self._reasoning:
            message["reasoning_content"] = "".join(self._reasoning)
        if self._calls:
            message["tool_calls"] = [call.body() for call in self._calls]
        return {
            "index": self._index,
            "message": with_functions(message) if self._is_legacy else message,
            "logprobs": self._unsent_logprobs(),
            "finish_reason": self.finish_reason,
        }

    def _unsent_logprobs(self) -> JsonObject | None:
        scores = self._scores[self._num_sent_scores :]
        self._num_sent_scores = len(self._scores)
        return {"content": list(map(token_logprob, scores)), "refusal": None} if scores else None


class _ToolCall:
    """One tool call."""

    def __init__(self, name: str) -> None:
        self.is_complete = False
        self._id = new_call_id()
        self._name = name
        self._arguments: list[str] = []

    def add(self, part: CallArguments) -> None:
        self._arguments.append(part.text)
        self.is_complete = part.is_last

    def body(self) -> JsonObject:
        function = {"name": self._name, "arguments": "".join(self._arguments)}
        return {"id": self._id, "type": "function", "function": function}


def usage_json(answers: Sequence[AnswerFinished]) -> JsonObject:
    """Return the object ``usage`` of the answers to one prompt."""
    usage = Usage.of(answers)
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.generated_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            **_prediction_counts(answers),
        },
    }


def _prediction_counts(answers: Sequence[AnswerFinished]) -> JsonObject:
    """Return how many draft tokens were right and wrong: of ``prediction``, or else of all sources.

    Return {} without a prediction and without draft tokens.
    """
    ends = [answer.finished for answer in answers]
    right = [end.predicted_right for end in ends if end.predicted_right is not None]
    wrong = [end.predicted_wrong for end in ends if end.predicted_wrong is not None]
    num_drafted = sum(end.drafted_tokens for end in ends)
    if not right and num_drafted:
        right = [sum(end.accepted_tokens for end in ends)]
        wrong = [num_drafted - right[0]]
    if not right:
        return {}
    return {"accepted_prediction_tokens": sum(right), "rejected_prediction_tokens": sum(wrong)}
