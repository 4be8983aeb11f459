"""Transcript of a sound: the answers to its pieces, in order.

Some pieces ahead are transcribed together. Invariant: the deltas of a transcript, joined, are its
text.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.chat.stream_parser import TextPart
from localrun.server.core.request import AnswerFinished, TokenScores
from localrun.server.reply_fields import Usage, plain_logprob

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject, Score
    from localrun.server.core.request import Reply
    from localrun.server.transcription.sound import Sound

FRAMES_PER_S = 100  # OpenAI's unit of ``seek``


@dataclass(slots=True)
class Segment:
    """The answer to one piece."""

    start_s: float
    end_s: float
    parts: list[str] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    end: AnswerFinished | None = None

    @property
    def text(self) -> str:
        """Return the text of the piece, without white space around it."""
        return "".join(self.parts).strip()


class SoundTranscript:
    """The segments of a sound, filled while their pieces are answered."""

    def __init__(self, sound: Sound) -> None:
        self.duration_s = sound.duration_s
        self.segments = [Segment(piece.start_s, piece.end_s) for piece in sound.pieces]
        self._place = -1  # of the piece that was written last
        self._has_begun = False  # that piece has a text
        self._has_text = False
        self._space = ""  # white space that is written before the next text

    @property
    def text(self) -> str:
        """Return the whole text."""
        return " ".join(segment.text for segment in self.segments if segment.text)

    def add(self, place: int, reply: Reply) -> str:
        """Add a part of a piece's answer; return the text that it adds to the transcript."""
        segment = self.segments[place]
        if isinstance(reply, TokenScores):
            segment.scores += reply.scores
        elif isinstance(reply, AnswerFinished):
            segment.end = reply
        elif isinstance(reply, TextPart):
            segment.parts.append(reply.text)
            return self._delta(place, reply.text)
        return ""

    def usage(self) -> JsonObject:
        """Return the token counts of all pieces, as OpenAI's ``usage``."""
        counts = [Usage.of([segment.end]) for segment in self.segments if segment.end]
        prompt = sum(count.prompt_tokens for count in counts)
        generated = sum(count.generated_tokens for count in counts)
        return {
            "type": "tokens",
            "input_tokens": prompt,
            "output_tokens": generated,
            "total_tokens": prompt + generated,
        }

    def logprobs(self) -> list[JsonObject]:
        """Return the log probabilities of all tokens."""
        scores = [score for segment in self.segments for score in segment.scores]
        return [plain_logprob(piece, logprob) for piece, logprob, _ in scores]

    def segments_json(self, temperature: float) -> list[JsonObject]:
        """Return the segments that have a text, as OpenAI's ``segments``."""
        spoken = [segment for segment in self.segments if segment.text]
        return [_segment_json(number, each, temperature) for number, each in enumerate(spoken)]

    def _delta(self, place: int, text: str) -> str:
        """Return the text to write: no white space at the ends, one space between two pieces."""
        if place != self._place:
            self._place, self._has_begun = place, False
        if not self._has_begun:
            text = text.lstrip()
            if not text:
                return ""
            self._space = " " if self._has_text else ""
            self._has_begun = self._has_text = True
        kept = text.rstrip()
        if not kept:
            self._space += text
            return ""
        delta, self._space = self._space + kept, text[len(kept) :]
        return delta


def _segment_json(number: int, segment: Segment, temperature: float) -> JsonObject:
    text, known = segment.text, [score for _, score, _ in segment.scores if score is not None]
    data = text.encode()
    return {
        "id": number,
        "seek": round(segment.start_s * FRAMES_PER_S),
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": text,
        "tokens": _tokens(segment),
        "temperature": temperature,
        "avg_logprob": sum(known) / len(known) if known else None,
        "compression_ratio": len(data) / len(zlib.compress(data)),
        "no_speech_prob": None,  # a chat model tells none
    }


def _tokens(segment: Segment) -> list[int]:
    """Return the ids of the answer's tokens, which follow those of the prompt."""
    if segment.end is None or not segment.end.finished.generated_tokens:
        return []
    finished = segment.end.finished
    return list(finished.tokens[-finished.generated_tokens :])
