"""Answers of ``/v1/completions``: streamed chunks, and the whole completion.

A chunk has the shape of the whole completion. Choices are numbered prompt by prompt: with ``n``
answers each, the answers to prompt ``p`` are choices ``[p * n, (p + 1) * n)``.
"""

from __future__ import annotations

import codecs
import secrets
import time
from typing import TYPE_CHECKING

from localrun.chat.stream_parser import TextPart
from localrun.server.core.request import AnswerFinished, AnswerStarted, TokenScores
from localrun.server.framing import sse_event
from localrun.server.openai.chat_builder import usage_json
from localrun.server.reply_fields import extension, timings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.runner.messages import JsonObject, Score
    from localrun.server.core.request import Reply


class TextCompletionBuilder:
    """All choices of one request; ``num_choices`` answers for each prompt."""

    def __init__(self, model: str, count: int, num_choices: int) -> None:
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": "localrun",
        }
        self._choices = [_TextChoice(index) for index in range(count)]
        self._num_choices = num_choices

    def add(self, index: int, part: Reply) -> None:
        """Add a part to a choice."""
        self._choices[index].add(part)

    def event_of(self, index: int, part: Reply) -> bytes | None:
        """Add a part to a choice; return its event, None if the part has no event."""
        choice = self._choices[index]
        choice.add(part)
        if isinstance(part, AnswerFinished):
            return sse_event({**self._body([choice.take()]), **_end_fields([part])})
        if isinstance(part, TextPart) or (isinstance(part, AnswerStarted) and part.prompt):
            return sse_event(self._body([choice.take()]))
        return None

    def usage_event(self) -> bytes:
        """Return the event with the token counts, which has no choices."""
        return sse_event({**self._body([]), "usage": self._usage()})

    def completion(self) -> JsonObject:
        """Return the whole completion."""
        ends = _ends(self._choices)
        body = self._body([choice.take() for choice in self._choices])
        return {**body, "usage": self._usage(), **_end_fields(ends)}

    def _body(self, choices: list[JsonObject]) -> JsonObject:
        return {**self._head, "choices": choices}

    def _usage(self) -> JsonObject:
        """Return the token counts; a prompt counts once for all its answers."""
        counts = [
            usage_json(_ends(self._choices[first : first + self._num_choices]))
            for first in range(0, len(self._choices), self._num_choices)
        ]
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        cached = sum(count["prompt_tokens_details"]["cached_tokens"] for count in counts)
        return {
            **{name: sum(count[name] for count in counts) for name in names},
            "prompt_tokens_details": {"cached_tokens": cached},
        }


class _TextChoice:
    """The parts of one answer that were not sent yet."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._text: list[str] = []
        self._scores: list[Score] = []
        self._offset = 0  # characters of the tokens whose log probabilities were sent
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.end: AnswerFinished | None = None

    def add(self, part: Reply) -> None:
        """Add a part."""
        if isinstance(part, TextPart):
            self._text.append(part.text)
        elif isinstance(part, AnswerStarted):
            self._text.append(part.prompt or "")
        elif isinstance(part, TokenScores):
            self._scores += part.scores
        elif isinstance(part, AnswerFinished):
            self.end = part

    def take(self) -> JsonObject:
        """Return the parts that were not sent yet as a choice."""
        text, scores = "".join(self._text), self._scores
        self._text, self._scores = [], []
        return {
            "index": self._index,
            "text": text,
            "logprobs": self._logprobs(scores) if scores else None,
            "finish_reason": self.end.finished.reason.value if self.end else None,
        }

    def _logprobs(self, scores: list[Score]) -> JsonObject:
        offsets = []
        for piece, _, _ in scores:
            offsets.append(self._offset)
            self._offset += len(self._decoder.decode(piece))
        return {
            "tokens": [_token_text(score[0]) for score in scores],
            "token_logprobs": [score[1] for score in scores],
            "top_logprobs": [
                None
                if score[1] is None  # the first token of a prompt has no probability
                else {_token_text(piece): logprob for piece, logprob in score[2]}
                for score in scores
            ],
            "text_offset": offsets,
        }


def _ends(choices: Sequence[_TextChoice]) -> list[AnswerFinished]:
    return [choice.end for choice in choices if choice.end]


def _end_fields(ends: Sequence[AnswerFinished]) -> JsonObject:
    return {"timings": timings(ends), **extension(ends)}


def _token_text(piece: bytes) -> str:
    """Return the text of a token; a token that is no whole character is escaped as in OpenAI."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
