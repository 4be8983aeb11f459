"""The answers to ``/v1/completions`` in OpenAI's words: as chunks while they come, and as a whole.

A chunk has the shape of the whole. Places count prompt by prompt: with ``n`` answers
each, the answers to prompt ``p`` are ``[p * n, (p + 1) * n)``.
"""

from __future__ import annotations

import codecs
import secrets
import time
from typing import TYPE_CHECKING

from localrun.chat.stream_parser import TextPart
from localrun.server.core.request import AnswerFinished, AnswerStarted, TokenScores
from localrun.server.extension import extension
from localrun.server.framing import sse_event
from localrun.server.openai.chat_builder import usage
from localrun.server.timings import timings

if TYPE_CHECKING:
    from localrun.runner.messages import Score
    from localrun.server.core.request import Reply
    from localrun.server.parsing.fields import JsonObject


class TextCompletionBuilder:
    """All answers of one call."""

    def __init__(self, model: str, count: int, num_choices: int) -> None:
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": "localrun",
        }
        self._all = [_Continuation(place) for place in range(count)]
        self._num_choices = num_choices

    def add(self, place: int, part: Reply) -> None:
        """Take a part of an answer."""
        self._all[place].add(part)

    def tell(self, place: int, part: Reply) -> bytes | None:
        """Take a part of an answer; return the event that tells it, None where there is none."""
        one = self._all[place]
        one.add(part)
        if isinstance(part, AnswerFinished):
            return sse_event({**self._body([one.news()]), **_figures([part])})
        if isinstance(part, TextPart) or (isinstance(part, AnswerStarted) and part.prompt):
            return sse_event(self._body([one.news()]))
        return None

    def usage_event(self) -> bytes:
        """Return the event with the counts of tokens, which has no choices."""
        return sse_event({**self._body([]), "usage": self._usage()})

    def whole(self) -> JsonObject:
        """Return the answers that were not streamed."""
        done = [one.done for one in self._all if one.done]
        body = self._body([one.news() for one in self._all])
        return {**body, "usage": self._usage(), **_figures(done)}

    def _body(self, choices: list[JsonObject]) -> JsonObject:
        return {**self._head, "choices": choices}

    def _usage(self) -> JsonObject:
        """Return the counts of tokens; those of a prompt count once for all its answers."""
        counts = [
            usage([one.done for one in self._all[first : first + self._num_choices] if one.done])
            for first in range(0, len(self._all), self._num_choices)
        ]
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        cached = sum(count["prompt_tokens_details"]["cached_tokens"] for count in counts)
        return {
            **{name: sum(count[name] for count in counts) for name in names},
            "prompt_tokens_details": {"cached_tokens": cached},
        }


class _Continuation:
    """Collects the parts of one answer until they are told."""

    def __init__(self, place: int) -> None:
        self._place = place
        self._text: list[str] = []
        self._scores: list[Score] = []
        self._offset = 0  # characters of the text that was scored
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.done: AnswerFinished | None = None

    def add(self, part: Reply) -> None:
        """Take a part."""
        if isinstance(part, TextPart):
            self._text.append(part.text)
        elif isinstance(part, AnswerStarted):
            self._text.append(part.prompt or "")
        elif isinstance(part, TokenScores):
            self._scores += part.scores
        elif isinstance(part, AnswerFinished):
            self.done = part

    def news(self) -> JsonObject:
        """Return what was not told yet as a choice."""
        text, scores = "".join(self._text), self._scores
        self._text, self._scores = [], []
        return {
            "index": self._place,
            "text": text,
            "logprobs": self._scored(scores) if scores else None,
            "finish_reason": self.done.finished.reason.value if self.done else None,
        }

    def _scored(self, scores: list[Score]) -> JsonObject:
        offsets = []
        for piece, _, _ in scores:
            offsets.append(self._offset)
            self._offset += len(self._decoder.decode(piece))
        return {
            "tokens": [_spelled(score[0]) for score in scores],
            "token_logprobs": [score[1] for score in scores],
            "top_logprobs": [
                None
                if score[1] is None  # nothing was guessed there
                else {_spelled(piece): logprob for piece, logprob in score[2]}
                for score in scores
            ],
            "text_offset": offsets,
        }


def _figures(done: list[AnswerFinished]) -> JsonObject:
    return {"timings": timings(done), **extension(done)}


def _spelled(piece: bytes) -> str:
    """Return a token's text; what is no whole character is spelled as OpenAI does."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
