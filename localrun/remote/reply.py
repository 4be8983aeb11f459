"""Parser of an engine's answer: JSON of its events to parts of a reply.

Engines spell thoughts as ``reasoning_content``, ``reasoning`` or tags in the content; calls come
whole or in pieces, with and without an index. Invariant: after `finish`, each call that has begun
is complete.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.chat.stream_parser import ReasoningPart, TextPart
from localrun.chat.tool_calls import CallArguments, CallBegun
from localrun.engine.params import FinishReason
from localrun.remote.thoughts import ThoughtReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localrun.chat.stream_parser import Part
    from localrun.runner.messages import Score

THOUGHTS = ("reasoning_content", "reasoning", "thinking")
OPENING, CLOSING = "<think>\n", "\n</think>\n\n"
MAX_CALLS = 1000
REASONS = {"length": FinishReason.LENGTH, "max_tokens": FinishReason.LENGTH}


class MalformedReplyError(ValueError):
    """The engine's answer has another form; the text is for people."""


@dataclass(frozen=True, slots=True)
class RemoteScores:
    """The log probabilities of the next tokens."""

    scores: tuple[Score, ...]


@dataclass(slots=True)
class ReplyUsage:
    """Token counts of an answer, as the engine reports them."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int | None = None  # None: not reported
    thought_tokens: int = 0


class EngineReply:
    """The state of one answer."""

    def __init__(
        self, *, is_chat: bool, keeps_thoughts: bool = False, most_calls: int | None = None
    ) -> None:
        self._is_chat = is_chat
        self._keeps_thoughts = keeps_thoughts
        self._reader = ThoughtReader(keeps_thoughts=keeps_thoughts)
        self._call: object = None  # the index of the open call
        self._has_arguments = False
        self._most_calls = most_calls
        self._num_calls = 0
        self._is_thinking = False  # in kept thoughts
        self.reason: FinishReason | None = None
        self.stop: str | None = None
        self.usage = ReplyUsage()
        self.num_pieces = 0  # with text: about the number of tokens

    def push(self, event: Mapping[str, Any]) -> list[Part | RemoteScores]:
        """Add an event; return the parts of the answer that are certain now.

        Raises:
            MalformedReplyError: the event has another form.
        """
        try:
            return list(self._parts(event))
        except (AttributeError, TypeError, KeyError) as error:
            raise MalformedReplyError("sends an answer in another format than OpenAI's") from error

    def finish(self) -> list[Part | RemoteScores]:
        """Return what was held back, at the end of the answer."""
        return [*self._end_call(), *self._end_thought(), *self._reader.finish()]

    @property
    def _is_dropped(self) -> bool:
        """Return whether the open call is beyond the number that the request allows."""
        return self._most_calls is not None and self._num_calls > self._most_calls

    def _parts(self, event: Mapping[str, Any]) -> Iterator[Part | RemoteScores]:
        if usage := event.get("usage"):
            self.usage = _usage(usage)
        for choice in (event.get("choices") or ())[:1]:
            if not isinstance(choice, dict):
                raise TypeError(choice)
            yield from self._choice(choice)

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[Part | RemoteScores]:
        scores = _scores(choice.get("logprobs"))
        if scores:
            yield RemoteScores(scores)
        if self._is_chat:
            delta = choice.get("delta") or choice.get("message") or {}
            yield from self._delta(delta)
        elif text := choice.get("text"):
            self.num_pieces += 1
            yield TextPart(_text(text))
        reason = choice.get("finish_reason")
        if isinstance(reason, str):
            self.reason = REASONS.get(reason, FinishReason.STOP)
            stop = choice.get("stop_reason")
            self.stop = stop[:1000] if isinstance(stop, str) else None

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[Part]:
        thought = next((delta[name] for name in THOUGHTS if delta.get(name)), None)
        content, calls = delta.get("content"), delta.get("tool_calls")
        if legacy := delta.get("function_call"):
            calls = [{"index": 0, "function": legacy}]
        self.num_pieces += any((thought, content, calls))
        if thought:
            yield from self._thought(_text(thought))
        if content:
            yield from self._end_call()
            yield from self._end_thought()
            yield from self._reader.push(_content(content))
        for call in calls or ():
            yield from self._end_thought()
            yield from self._tool_call(call)

    def _thought(self, text: str) -> Iterator[Part]:
        if not self._keeps_thoughts:
            yield ReasoningPart(text)
            return
        if not self._is_thinking:
            text = OPENING + text
        self._is_thinking = True
        yield TextPart(text)

    def _end_thought(self) -> Iterator[Part]:
        if self._is_thinking:
            self._is_thinking = False
            yield TextPart(CLOSING)

    def _tool_call(self, call: Mapping[str, Any]) -> Iterator[Part]:
        """Yield the parts of a piece of a call; a new index or a name begins the next call."""
        function = call.get("function") or {}
        name, index = function.get("name"), call.get("index", call.get("id"))
        is_new = self._call is None or (index is not None and index != self._call)
        if (is_new or (name and index is None)) and name:
            yield from self._reader.finish()
            self._reader = ThoughtReader(keeps_thoughts=self._keeps_thoughts)
            yield from self._end_call()
            self._num_calls += 1
            if self._num_calls > MAX_CALLS:
                raise MalformedReplyError(f"sends more than {MAX_CALLS} tool calls")
            self._call = index if index is not None else self._num_calls
            if not self._is_dropped:
                yield CallBegun(_text(name))
        elif is_new:
            raise MalformedReplyError("sends the arguments of a tool call that has not begun")
        arguments = function.get("arguments")
        if arguments not in (None, "") and not self._is_dropped:
            self._has_arguments = True
            yield CallArguments(_arguments(arguments), is_last=False)

    def _end_call(self) -> Iterator[Part]:
        if self._call is not None and not self._is_dropped:
            yield CallArguments("" if self._has_arguments else "{}", is_last=True)
        self._call, self._has_arguments = None, False


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value.encode(errors="replace").decode() if not value.isascii() else value


def _content(value: object) -> str:
    """Return the text of a content: a string, or parts that have a text."""
    if isinstance(value, list):
        return "".join(_text(part.get("text") or "") for part in value)
    return _text(value)


def _arguments(value: object) -> str:
    return _text(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _usage(usage: Mapping[str, Any]) -> ReplyUsage:
    generated = usage.get("completion_tokens")
    return ReplyUsage(
        prompt_tokens=_count(usage.get("prompt_tokens")),
        cached_tokens=_count((usage.get("prompt_tokens_details") or {}).get("cached_tokens")),
        generated_tokens=None if generated is None else _count(generated),
        thought_tokens=_count(
            (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
        ),
    )


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 1 << 53 else 0


def _scores(logprobs: Mapping[str, Any] | None) -> tuple[Score, ...]:
    """Return the scores of a chat's ``content``, or of a text's lists."""
    if not logprobs:
        return ()
    if "content" in logprobs:
        return tuple(
            (*_scored(each), tuple(map(_candidate, each.get("top_logprobs") or ())))
            for each in logprobs["content"] or ()
        )
    tokens, values = logprobs.get("tokens") or (), logprobs.get("token_logprobs") or ()
    tops = logprobs.get("top_logprobs") or [None] * len(tokens)
    return tuple(
        (
            _text(token).encode(),
            _logprob(value),
            tuple((_text(text).encode(), float(each)) for text, each in (top or {}).items()),
        )
        for token, value, top in zip(tokens, values, tops, strict=False)
    )


def _scored(score: Mapping[str, Any]) -> tuple[bytes, float | None]:
    piece = score.get("bytes")
    if isinstance(piece, list) and all(type(byte) is int and 0 <= byte < 256 for byte in piece):  # noqa: PLR2004 - a byte
        return bytes(piece), _logprob(score.get("logprob"))
    return _text(score["token"]).encode(), _logprob(score.get("logprob"))


def _candidate(score: Mapping[str, Any]) -> tuple[bytes, float]:
    piece, logprob = _scored(score)
    return piece, -1e9 if logprob is None else logprob


def _logprob(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
