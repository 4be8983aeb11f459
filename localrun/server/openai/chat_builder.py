"""The answers to a chat in OpenAI's words: as chunks while they come, and as a whole."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING

from localrun.chat.stream_parser import ReasoningPart, TextPart
from localrun.chat.tool_calls import CallArguments, CallBegun
from localrun.server.core.request import AnswerFinished, AnswerStarted, TokenScores
from localrun.server.extension import extension
from localrun.server.framing import sse_event
from localrun.server.openai.legacy import in_old_words
from localrun.server.scores import openai_score
from localrun.server.timings import timings

if TYPE_CHECKING:
    from localrun.runner.messages import Finished, Score
    from localrun.server.core.request import Reply
    from localrun.server.parsing.fields import JsonObject


class ChatCompletionBuilder:
    """All choices of one call, and what they have in common."""

    def __init__(self, model: str, count: int, *, is_legacy: bool = False) -> None:
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": "localrun",
        }
        self._choices = [_Choice(self._head, index, is_legacy=is_legacy) for index in range(count)]

    def add(self, index: int, part: Reply) -> None:
        """Take a part of a choice."""
        self._choices[index].add(part)

    def tell(self, index: int, part: Reply) -> bytes | None:
        """Take a part of a choice; return the event that tells it, None where there is none."""
        choice = self._choices[index]
        delta = choice.add(part)
        if delta is not None:
            return choice.event(delta)
        if isinstance(part, AnswerStarted):
            return sse_event(choice.chunk({"role": "assistant", "content": ""}))
        if isinstance(part, AnswerFinished):
            figures = {"timings": timings([part]), **extension([part])}
            return sse_event(choice.chunk({}, finish=choice.finish) | figures)
        return None

    def usage_event(self) -> bytes:
        """Return the event with the counts of tokens, which has no choices."""
        body = {**self._head, "object": "chat.completion.chunk", "choices": []}
        return sse_event({**body, "usage": usage(self._done)})

    def whole(self) -> JsonObject:
        """Return the answers that were not streamed."""
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice.whole() for choice in self._choices],
            "usage": usage(self._done),
            "timings": timings(self._done),
            **extension(self._done),
        }

    @property
    def _done(self) -> list[AnswerFinished]:
        return [choice.done for choice in self._choices if choice.done]


class _Choice:
    """Collects the parts of one answer."""

    def __init__(self, head: JsonObject, index: int, *, is_legacy: bool) -> None:
        self._head = head
        self._is_legacy = is_legacy
        self._index = index
        self._text: list[str] = []
        self._thought: list[str] = []
        self._calls: list[_Call] = []
        self._scores: list[Score] = []
        self._num_told = 0  # scores that are in a chunk
        self.done: AnswerFinished | None = None
        # the last one: a model's name before it may hold anything
        before, key, after = sse_event(self.chunk({})).rpartition(b'"delta": ')
        self._before, self._after = before + key, after.removeprefix(b"{}")

    @property
    def finish(self) -> str:
        """Return why the answer ended."""
        if self._calls and self._calls[-1].is_whole:
            return "function_call" if self._is_legacy else "tool_calls"
        return self.done.finished.reason.value if self.done else "stop"

    def add(self, part: Reply) -> JsonObject | None:
        """Take a part; return the delta that tells it, None where there is nothing to tell."""
        if isinstance(part, TextPart):
            self._text.append(part.text)
            return {"content": part.text}
        if isinstance(part, ReasoningPart):
            self._thought.append(part.text)
            return {"reasoning_content": part.text}
        if isinstance(part, CallBegun):
            return self._begin_call(part)
        if isinstance(part, CallArguments):
            return self._go_on_with_call(part)
        if isinstance(part, TokenScores):
            self._scores += part.scores
        elif isinstance(part, AnswerFinished):
            self.done = part
        return None

    def _begin_call(self, part: CallBegun) -> JsonObject:
        self._calls.append(_Call(part.name))
        return {"tool_calls": [{"index": len(self._calls) - 1, **self._calls[-1].whole()}]}

    def _go_on_with_call(self, part: CallArguments) -> JsonObject:
        self._calls[-1].add(part)
        index = len(self._calls) - 1
        return {"tool_calls": [{"index": index, "function": {"arguments": part.text}}]}

    def chunk(self, delta: JsonObject, *, finish: str | None = None) -> JsonObject:
        """Return a streamed chunk, with the scores that no chunk has told yet."""
        choice = {
            "index": self._index,
            "delta": in_old_words(delta) if self._is_legacy else delta,
            "logprobs": self._new_scores(),
            "finish_reason": finish,
        }
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def event(self, delta: JsonObject) -> bytes:
        """Return a streamed chunk as an event; only the delta is encoded, half the cost."""
        if self._is_legacy or self._num_told < len(self._scores):
            return sse_event(self.chunk(delta))
        return self._before + json.dumps(delta, ensure_ascii=False).encode() + self._after

    def whole(self) -> JsonObject:
        """Return the choice that was not streamed."""
        text = "".join(self._text)
        message: JsonObject = {
            "role": "assistant",
            "content": text if text or not self._calls else None,
            "refusal": None,
        }
        if self._thought:
            message["reasoning_content"] = "".join(self._thought)
        if self._calls:
            message["tool_calls"] = [call.whole() for call in self._calls]
        return {
            "index": self._index,
            "message": in_old_words(message) if self._is_legacy else message,
            "logprobs": self._new_scores(),
            "finish_reason": self.finish,
        }

    def _new_scores(self) -> JsonObject | None:
        new = self._scores[self._num_told :]
        self._num_told = len(self._scores)
        return {"content": [openai_score(score) for score in new], "refusal": None} if new else None


class _Call:
    """One call of a tool, in OpenAI's words."""

    def __init__(self, name: str) -> None:
        self.is_whole = False
        self._id = f"call_{secrets.token_hex(12)}"
        self._name = name
        self._arguments: list[str] = []

    def add(self, part: CallArguments) -> None:
        self._arguments.append(part.text)
        self.is_whole = part.is_last

    def whole(self) -> JsonObject:
        function = {"name": self._name, "arguments": "".join(self._arguments)}
        return {"id": self._id, "type": "function", "function": function}


def usage(done: list[AnswerFinished]) -> JsonObject:
    """Return the counts of tokens of all choices; their prompt is one."""
    finished = [answer.finished for answer in done]
    prompt = max((one.prompt_tokens for one in finished), default=0)
    generated = sum(one.generated_tokens for one in finished)
    cached = min((one.cached_tokens for one in finished), default=0)  # of who computed it
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {
            "reasoning_tokens": sum(one.thought_tokens for one in finished),
            **_predicted(finished),
        },
    }


def _predicted(finished: list[Finished]) -> JsonObject:
    """Return what became of a prediction, where there was one; wrong guesses cost no tokens."""
    right = [one.predicted_right for one in finished if one.predicted_right is not None]
    wrong = [one.predicted_wrong for one in finished if one.predicted_wrong is not None]
    if not right:
        return {}
    return {"accepted_prediction_tokens": sum(right), "rejected_prediction_tokens": sum(wrong)}
