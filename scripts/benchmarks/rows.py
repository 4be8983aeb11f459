"""Rows of `scripts/bench serve`: one function each, which measures a figure of a server.

Each turn gets new text, so that prefixes are shared only within a turn. Lengths are in words, which
are one token each in Qwen's vocabulary; guide's vocabulary is small, so its lengths are reduced to
fit its context.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.bursts import Burst, prompt_beside_stream
from benchmarks.load import RefusedError, ask_all, chat, request, user
from benchmarks.texts import words

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from benchmarks.bursts import Times
    from benchmarks.contestants import Contestant

SCHEMA = {
    "type": "object",
    "properties": {
        "rows": {
            "type": "array",
            "minItems": 1000,
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "integer"},
                    "name": {"type": "string", "maxLength": 20},
                    "kind": {"enum": ["red", "green", "blue"]},
                },
                "required": ["id", "name", "kind"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["rows"],
    "additionalProperties": False,
}
SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "rows", "schema": SCHEMA}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of the requests; ``words`` are prompts of about as many tokens."""

    stream: int  # tokens of a single answer
    together: int  # tokens of each of several answers
    scale: float = 1.0  # factor of the prompts' words, for a vocabulary with more tokens per word
    long: int = 4000


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table; ``target`` is the required ratio to the peer."""

    name: str
    about: str
    unit: str
    target: float
    measure: Callable[[Contestant, Sizes, random.Random], float | Times]
    is_less_better: bool = True


def one_stream(server: Contestant, sizes: Sizes, rng: random.Random) -> float:
    """Return tokens per second between the first and the last token of one answer."""
    (answer,) = ask_all(server.port, [request(user(words(rng, 20)), sizes.stream)])
    return (answer.tokens - 1) / (answer.times[-1] - answer.times[0])


def copying(server: Contestant, sizes: Sizes, rng: random.Random) -> float:
    """Return tokens per second of one greedy answer, which repeats itself on a random model."""
    body = request(user(words(rng, 20)), sizes.stream, temperature=0)
    (answer,) = ask_all(server.port, [body])
    return (answer.tokens - 1) / (answer.times[-1] - answer.times[0])


def streams(count: int) -> Callable[[Contestant, Sizes, random.Random], float]:
    """Return a function that measures the total tokens per second of ``count`` answers."""

    def measure(server: Contestant, sizes: Sizes, rng: random.Random) -> float:
        bodies = [request(user(words(rng, 20)), sizes.together) for _ in range(count)]
        answers = ask_all(server.port, bodies)
        begun = min(answer.sent_at for answer in answers)
        ended = max(answer.ended_at for answer in answers)
        return sum(answer.tokens for answer in answers) / (ended - begun)

    return measure


def shared_prompt(server: Contestant, sizes: Sizes, rng: random.Random) -> float:
    """Return the seconds of 16 concurrent requests that share 90 % of 800 tokens."""
    return _sharing(server, rng, count=16, shared=_scaled(720, sizes), own=_scaled(80, sizes))


def batch(server: Contestant, sizes: Sizes, rng: random.Random) -> float:
    """Return the seconds of 64 prompts that share 1,000 tokens."""
    return _sharing(server, rng, count=64, shared=_scaled(1000, sizes), own=_scaled(20, sizes))


def turns(server: Contestant, sizes: Sizes, rng: random.Random) -> float:
    """Return the seconds to the first token, over 20 turns of a chat."""
    return sum(answer.first_s for answer, _ in _conversation(server, sizes, rng))


def after_restart(server: Contestant, sizes: Sizes, rng: random.Random) -> float:
    """Return the seconds to the first token of a chat that continues after a restart."""
    *_, (_, messages) = _conversation(server, sizes, rng)
    server.stop()
    server.start()
    again = [*messages, *user(words(rng, 20))]
    (answer,) = ask_all(server.port, [request(again, 8)])
    return answer.first_s


def gap(server: Contestant, sizes: Sizes, rng: random.Random) -> float:
    """Return the milliseconds between tokens (p95) of a stream during a long prefill."""

    async def both() -> list[float]:
        started = asyncio.Event()
        answer = request(user(words(rng, 20)), MAX_STREAM)
        stream = asyncio.create_task(chat(server.port, answer, started))
        await started.wait()
        begun = time.monotonic()
        await chat(server.port, request(user(words(rng, _scaled(sizes.long, sizes))), 1))
        ended = time.monotonic()
        times = (await stream).token_times
        pairs = itertools.pairwise(times)
        return [later - earlier for earlier, later in pairs if later > begun and earlier < ended]

    gaps = asyncio.run(both())
    if len(gaps) < 2:
        raise RefusedError("the stream ended before the long prompt came")
    return 1000 * statistics.quantiles(gaps, n=20, method="inclusive")[-1]


def burst(
    count: int, num_words: int, num_tokens: int, num_shared: int = 0
) -> Callable[[Contestant, Sizes, random.Random], Times]:
    """Return a function that measures ``count`` equal streams that arrive together."""
    one = Burst(count=count, num_words=num_words, num_tokens=num_tokens, num_shared=num_shared)
    return lambda server, sizes, rng: one.measure(server, sizes.scale, rng)


def beside(server: Contestant, sizes: Sizes, rng: random.Random) -> Times:
    """Return the figures of a long prompt beside one stream that has just begun."""
    return prompt_beside_stream(server, _scaled(sizes.long, sizes), rng)


def schema(server: Contestant, sizes: Sizes, rng: random.Random) -> float:
    """Return tokens per second of one answer constrained by a JSON schema."""
    more: dict[str, Any] = {"response_format": SCHEMA_FORMAT}
    (answer,) = ask_all(server.port, [request(user(words(rng, 20)), sizes.stream, **more)])
    return (answer.tokens - 1) / (answer.times[-1] - answer.times[0])


def memory(server: Contestant, sizes: Sizes, rng: random.Random) -> float:  # noqa: ARG001 - a row's signature
    """Return the megabytes of the process with the model."""
    return server.memory_mb()


MAX_STREAM = 400  # tokens: longer than the concurrent prefill
TURNS = 20
ROWS = (
    Row("memory", "memory of the process with the model", "MB", 0, memory),
    Row("one", "one stream", "tokens/s", 0.98, one_stream, is_less_better=False),
    Row("copy", "one stream that repeats itself", "tokens/s", 1.2, copying, is_less_better=False),
    Row("eight", "8 streams together", "tokens/s", 1.0, streams(8), is_less_better=False),
    Row("sixteen", "16 streams together", "tokens/s", 1.0, streams(16), is_less_better=False),
    Row("schema", "one stream under a JSON schema", "tokens/s", 1.3, schema, is_less_better=False),
    Row("gap", "p95 gap beside a long prefill (4,000 tokens)", "ms", 1.0, gap),
    Row("short", "burst of 16 short prompts", "s", 1.0, burst(16, 20, 48)),
    Row("middle", "burst of 4 x 1,200", "s", 1.0, burst(4, 1200, 32)),
    Row("large", "burst of 4 x 2,500", "s", 1.0, burst(4, 2500, 48)),
    Row("warm", "burst of 16 x 800, 720 cached", "s", 1.0, burst(16, 800, 8, num_shared=720)),
    Row("beside", "a prompt of 4,000 beside one stream", "s", 1.0, beside),
    Row("turns", "20 turns, sum of times to first token", "s", 1.0, turns),
    Row("restart", "the next turn after a restart", "s", 5.0, after_restart),
    Row("shared", "16 requests, 90 % of 800 tokens shared", "s", 4.0, shared_prompt),
    Row("batch", "64 prompts, 1,000 tokens shared", "s", 5.0, batch),
)


def _sharing(server: Contestant, rng: random.Random, *, count: int, shared: int, own: int) -> float:
    prefix = words(rng, shared)
    bodies = [request(user(f"{prefix} {words(rng, own)}"), 8) for _ in range(count)]
    begun = time.monotonic()
    ask_all(server.port, bodies)
    return time.monotonic() - begun


def _conversation(
    server: Contestant, sizes: Sizes, rng: random.Random
) -> list[tuple[Any, list[dict[str, str]]]]:
    """Return the answer of each turn with the messages up to it."""
    messages: list[dict[str, str]] = []
    done = []
    for _ in range(TURNS):
        messages = [*messages, *user(words(rng, _scaled(20, sizes)))]
        (answer,) = ask_all(server.port, [request(messages, 16)])
        messages = [*messages, {"role": "assistant", "content": answer.text}]
        done.append((answer, messages))
    return done


def _scaled(count: int, sizes: Sizes) -> int:
    return round(count * sizes.scale)
