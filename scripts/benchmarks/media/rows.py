"""Rows of `scripts/bench media`: one function each, which measures a figure of a server.

Each round has pictures of its own, the same for both servers, so that neither has seen them.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.load import RefusedError, ask_all, chat, request, user
from benchmarks.media.pictures import PHONE, SCREEN, look, photo

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.contestants import Contestant

TOGETHER = 16
TURNS = 10
MAX_STREAM = 600  # tokens: longer than the encode beside it
QUESTION = "What is in the picture?"


@dataclass(frozen=True, slots=True)
class MediaRow:
    """A row of the table; ``target`` is the required ratio to the peer."""

    name: str
    about: str
    unit: str
    target: float
    measure: Callable[[Contestant, int], float]


def first_token(size: tuple[int, int]) -> Callable[[Contestant, int], float]:
    """Return a function that measures the seconds to the first token behind a new picture."""

    def measure(server: Contestant, seed: int) -> float:
        (answer,) = ask_all(server.port, [request([look(photo(seed, size), QUESTION)], 2)])
        return answer.first_s

    return measure


def together(server: Contestant, seed: int) -> float:
    """Return the seconds until all of 16 requests with one picture have answered."""
    picture = photo(seed)
    bodies = [
        request([look(picture, f"{QUESTION} Question {number}.")], 8) for number in range(TOGETHER)
    ]
    begun = time.monotonic()
    ask_all(server.port, bodies)
    return time.monotonic() - begun


def tenth_turn(size: tuple[int, int]) -> Callable[[Contestant, int], float]:
    """Return a function that measures the tenth turn of a chat whose first has a picture."""

    def measure(server: Contestant, seed: int) -> float:
        messages: list[dict[str, Any]] = [look(photo(seed, size), QUESTION)]
        seconds = 0.0
        for turn in range(TURNS):
            if turn:
                messages = [*messages, *user(f"And what else, number {turn}?")]
            (answer,) = ask_all(server.port, [request(messages, 8)])
            messages = [*messages, {"role": "assistant", "content": answer.text}]
            seconds = answer.first_s
        return seconds

    return measure


def other_chats(server: Contestant, seed: int) -> float:
    """Return the seconds to the first token of a chat's next turn, after 16 other chats."""
    messages: list[dict[str, Any]] = [look(photo(seed), QUESTION)]
    (answer,) = ask_all(server.port, [request(messages, 8)])
    others = [request(user(f"Story number {seed} {number}."), 8) for number in range(TOGETHER)]
    ask_all(server.port, others)
    again = [*messages, {"role": "assistant", "content": answer.text}, *user("And what else?")]
    (answer,) = ask_all(server.port, [request(again, 8)])
    return answer.first_s


def gap(server: Contestant, seed: int) -> float:
    """Return the milliseconds between tokens (p95) of a stream beside a request with a picture."""

    async def both() -> list[float]:
        started = asyncio.Event()
        told = request(user(f"Tell me story number {seed}."), MAX_STREAM)
        stream = asyncio.create_task(chat(server.port, told, started))
        await started.wait()
        begun = time.monotonic()
        await chat(server.port, request([look(photo(seed), QUESTION)], 1))
        ended = time.monotonic()
        times = (await stream).token_times
        pairs = itertools.pairwise(times)
        return [later - earlier for earlier, later in pairs if later > begun and earlier < ended]

    gaps = asyncio.run(both())
    if not gaps:
        raise RefusedError("the stream ended before the picture came")
    if len(gaps) == 1:
        return 1000 * gaps[0]
    return 1000 * statistics.quantiles(gaps, n=20, method="inclusive")[-1]


ROWS = (
    MediaRow("first", "first token, one picture 1024 x 768", "s", 1.0, first_token(SCREEN)),
    MediaRow("phone", "first token, one photo of 12 Mpixel", "s", 1.0, first_token(PHONE)),
    MediaRow("sixteen", "one picture in 16 requests at once", "s", 8.0, together),
    MediaRow("turn", "turn 10 of a chat with a photo of 12 Mpixel", "s", 5.0, tenth_turn(PHONE)),
    MediaRow("small", "turn 10 of a chat with a picture 1024 x 768", "s", 1.0, tenth_turn(SCREEN)),
    MediaRow("back", "its next turn after 16 other chats", "s", 1.0, other_chats),
    MediaRow("gap", "p95 gap of a stream beside an encode", "ms", 20.0, gap),
)
