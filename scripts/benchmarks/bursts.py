"""Rows of `scripts/bench serve` with several figures: bursts, and a prompt beside a stream.

The ideal of a burst comes from the same server: all prompts at the rate of one that was alone a
moment before, then the same requests again, whose prompts are cached, so that all decode together.
"""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.load import RefusedError, ask_all, chat, request, user
from benchmarks.readers import percentile, reader_waits
from benchmarks.texts import words

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from benchmarks.contestants import Contestant
    from benchmarks.load import Answer

MOST_IDEALS = 1.15  # target: the time of a burst in that of the ideal, of a prompt in that alone
ALONE_WORDS = 512  # of the prompt that the rate is measured with, if those of the burst are shorter
STREAM_TOKENS = 1000  # longer than the prompt beside it takes, while it is read


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Figures of one measurement: the seconds of the row, of its ideal, and the details."""

    seconds: float
    ideal_s: float
    details: dict[str, float]  # seconds by description


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Equal requests that arrive together; ``num_shared`` words of each prompt are cached."""

    count: int
    num_words: int
    num_tokens: int
    num_shared: int = 0

    def measure(self, server: Contestant, scale: float, rng: random.Random) -> Times:
        """Return the figures of a burst of streams with new text."""
        num_own = round(scale * (self.num_words - self.num_shared))
        prefix = words(rng, round(scale * self.num_shared))
        if prefix:
            ask_all(server.port, [request(user(prefix), 1)])
        alone = _alone(server, max(round(scale * ALONE_WORDS), num_own), rng)
        prompts = [f"{prefix} {words(rng, num_own)}" for _ in range(self.count)]
        answers = ask_all(server.port, [request(user(text), self.num_tokens) for text in prompts])
        num_shared = answers[0].prompt_tokens * self.num_shared / self.num_words
        num_prompt = sum(answer.prompt_tokens - num_shared for answer in answers)
        prompts_s = num_prompt * alone.seconds / alone.num_tokens
        again = ask_all(server.port, [request(user(text), self.num_tokens) for text in prompts])
        return _times(answers, prompts_s + _wall_s(again))


@dataclass(frozen=True, slots=True)
class _Prompt:
    num_tokens: int
    seconds: float


def prompt_beside_stream(server: Contestant, num_words: int, rng: random.Random) -> Times:
    """Return the figures of a long prompt while one stream is being read."""
    alone_s = _alone(server, num_words, rng).seconds

    async def both() -> tuple[Answer, Answer]:
        started = asyncio.Event()
        body = request(user(words(rng, 20)), STREAM_TOKENS)
        stream = asyncio.create_task(chat(server.port, body, started))
        await started.wait()
        prompt = await chat(server.port, request(user(words(rng, num_words)), 1))
        return await stream, prompt

    stream, prompt = asyncio.run(both())
    if stream.times[-1] < prompt.first_at:
        raise RefusedError("the stream ended before the long prompt was computed")
    waits = reader_waits(stream.times)
    details = {"the reader waits": sum(waits), "longest wait for a token": max(waits)}
    return Times(seconds=prompt.first_at - prompt.sent_at, ideal_s=alone_s, details=details)


def _times(answers: Sequence[Answer], ideal_s: float) -> Times:
    first = [answer.first_at - answer.sent_at for answer in answers]
    waits = [sum(reader_waits(answer.times)) for answer in answers]
    details = {
        "first token, p50": statistics.median(first),
        "first token, p95": percentile(first, 0.95),
        "readers wait, all together": sum(waits),
    }
    return Times(seconds=_wall_s(answers), ideal_s=ideal_s, details=details)


def _wall_s(answers: Sequence[Answer]) -> float:
    return max(answer.ended_at for answer in answers) - answers[0].sent_at


def _alone(server: Contestant, num_words: int, rng: random.Random) -> _Prompt:
    """Measure a prompt while nothing else is computed."""
    (answer,) = ask_all(server.port, [request(user(words(rng, num_words)), 1)])
    return _Prompt(answer.prompt_tokens, answer.ended_at - answer.sent_at)
