"""Long contexts beside llama-server with its reuse of shifted cells: times to the first token.

    turn   turn 50 of a chat of 30,000 tokens: all but the last answer and question are cached
    edit   20,000 tokens are sent again with other words in the middle
    cut    the same with a message in the middle left out: the peer shifts the cells behind it,
           which still come from the message that is gone; localrun computes them again

The model is small, so that a round takes minutes. Messages of the assistant are made up.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import OURS, PEER, Contestant, Setup, StartError, both
from benchmarks.load import ask_all, request
from benchmarks.models import SHAPES, ensure_model
from benchmarks.peer import PeerError
from benchmarks.texts import words
from localrun.engine.threads import useful_threads

if TYPE_CHECKING:
    from collections.abc import Callable

CELLS = 40960  # the context of the random models
REUSED_TOKENS = 256  # the least that the peer shifts, as its documentation suggests
NUM_TURNS, QUESTION_WORDS, ANSWER_WORDS = 50, 480, 110
NUM_MESSAGES, MESSAGE_WORDS = 39, 500
OTHER_WORDS = 40  # of the changed message
Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent first, and what is sent then and measured."""

    name: str
    about: str
    prepare: Callable[[random.Random], tuple[Messages, Messages]]


def main(arguments: list[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="scripts/bench long", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", choices=SHAPES, default="0.1b")
    parser.add_argument("--threads", type=int, help="default: as localrun chooses")
    chosen = parser.parse_args(arguments)
    model = ensure_model(chosen.model)
    setup = Setup(
        model=model,
        threads=chosen.threads or useful_threads(model.stat().st_size),
        context=CELLS,
        cells=CELLS,
        peer_options=("--cache-reuse", str(REUSED_TOKENS)),
    )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"\n{model.name}: threads {setup.threads}, median of {chosen.rounds}; load {load}\n"
        f"{'first token, s':46}{OURS:>10}{PEER:>14}{'ratio':>8}{'tokens':>9}"
    )
    try:
        with (
            tempfile.TemporaryDirectory(prefix="localrun-bench-") as folder,
            both(setup, Path(folder)) as pair,
        ):
            for case in CASES:
                _show(case, pair, chosen.rounds)
    except (PeerError, StartError) as error:
        print(error)
        return 1
    return 0


def _show(case: Case, pair: tuple[Contestant, Contestant], rounds: int) -> None:
    times: dict[str, list[float]] = {OURS: [], PEER: []}
    num_tokens = 0
    for number in range(rounds):
        for contestant in pair if number % 2 == 0 else pair[::-1]:
            print(f"\r{case.name} {number + 1}: {contestant.name:20}", end="", file=sys.stderr)
            before, measured = case.prepare(random.Random(f"{case.name} {number}"))
            ask_all(contestant.port, [request(before, 1)])
            (answer,) = ask_all(contestant.port, [request(measured, 1)])
            num_tokens = answer.prompt_tokens
            times[contestant.name].append(answer.first_at - answer.sent_at)
    ours, theirs = (statistics.median(times[name]) for name in (OURS, PEER))
    print(
        f"\r{case.about:46}{ours:10.2f}{theirs:14.2f}{theirs / ours:8.2f}{num_tokens:9}", flush=True
    )


def _last_turn(rng: random.Random) -> tuple[Messages, Messages]:
    messages: Messages = []
    before: Messages = []
    for _ in range(NUM_TURNS):
        before = list(messages)
        messages += [_user(rng, QUESTION_WORDS), _assistant(rng)]
    return before[:-1], messages[:-1]


def _edited(rng: random.Random) -> tuple[Messages, Messages]:
    before = [_user(rng, MESSAGE_WORDS) for _ in range(NUM_MESSAGES)]
    middle = NUM_MESSAGES // 2
    kept = before[middle]["content"].split()[OTHER_WORDS:]
    changed = f"{words(rng, OTHER_WORDS)} {' '.join(kept)}"
    return before, [*before[:middle], _message("user", changed), *before[middle + 1 :]]


def _cut(rng: random.Random) -> tuple[Messages, Messages]:
    before = [_user(rng, MESSAGE_WORDS) for _ in range(NUM_MESSAGES)]
    middle = NUM_MESSAGES // 2
    return before, [*before[:middle], *before[middle + 1 :]]


def _user(rng: random.Random, num_words: int) -> dict[str, str]:
    return _message("user", words(rng, num_words))


def _assistant(rng: random.Random) -> dict[str, str]:
    return _message("assistant", words(rng, ANSWER_WORDS))


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


CASES = (
    Case("turn", f"turn {NUM_TURNS} of a chat of 30,000 tokens", _last_turn),
    Case("edit", "20,000 tokens, other words in the middle", _edited),
    Case("cut", "20,000 tokens, a message in the middle gone", _cut),
)
