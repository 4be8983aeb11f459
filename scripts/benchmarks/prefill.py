"""Prompts of localrun beside llama-bench: tokens a second of one long prompt, and of 16 at once.

llama-bench computes a prompt of random tokens without a server; localrun is asked over HTTP for one
token of an answer, so that its figures have everything that a user waits for. Both take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peer
from benchmarks.contestants import Contestant, Setup, StartError, stopped
from benchmarks.load import ask_all, request, user
from benchmarks.models import NAMES, ensure_model
from benchmarks.peer import PeerError
from benchmarks.texts import words
from localrun.engine.threads import useful_threads

CELLS = 20480
TARGET = 0.97  # of llama-bench
GUIDE_SCALE = 0.28  # its vocabulary has more tokens for a word, and its context is short


@dataclass(frozen=True, slots=True)
class Case:
    """So many prompts at once, of so many words each."""

    count: int
    num_words: int

    @property
    def about(self) -> str:
        """Return a heading."""
        return f"{self.count} of {self.num_words:,} tokens"


CASES = (Case(1, 4000), Case(16, 1000))


def main(arguments: list[str]) -> int:
    """Print a table for each model; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench prefill", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", default="0.6b", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--threads", type=int, help="default: as localrun chooses")
    chosen = parser.parse_args(arguments)
    try:
        peer.ensure_tools()
        met = [_bench(name, chosen.rounds, chosen.threads) for name in chosen.models.split(",")]
    except (PeerError, StartError) as error:
        print(error)
        return 1
    return 0 if all(met) else 1


def _bench(name: str, rounds: int, threads: int | None) -> bool:
    model = ensure_model(name)
    scale = GUIDE_SCALE if name == "guide" else 1.0
    setup = Setup(
        model=model,
        threads=threads or useful_threads(model.stat().st_size),
        context=2048 if name == "guide" else CELLS,
        cells=CELLS,
    )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"\n{model.name}: threads {setup.threads}, median of {rounds}; load {load}\n"
        f"{'tokens/s':30}{'localrun':>10}{'llama-bench':>14}{'ratio':>8}"
    )
    is_met = True
    with (
        tempfile.TemporaryDirectory(prefix="localrun-bench-") as folder,
        stopped(setup, Path(folder)) as (server, _),
    ):
        server.start()
        for case in CASES:
            rates = [_rates(server, setup, case, scale, number) for number in range(rounds)]
            ours, theirs = (statistics.median(side) for side in zip(*rates, strict=True))
            is_met = is_met and ours >= TARGET * theirs
            print(f"{case.about:30}{ours:10.1f}{theirs:14.1f}{ours / theirs:8.2f}", flush=True)
    return is_met


def _rates(
    server: Contestant, setup: Setup, case: Case, scale: float, number: int
) -> tuple[float, float]:
    """Return the rates of localrun, and of llama-bench with one prompt of the same length."""
    rng = random.Random(f"{case.about} {number}")
    num_words = round(scale * case.num_words)
    bodies = [request(user(words(rng, num_words)), 1) for _ in range(case.count)]
    answers = ask_all(server.port, bodies)
    seconds = max(answer.ended_at for answer in answers) - answers[0].sent_at
    rate = sum(answer.prompt_tokens for answer in answers) / seconds
    return rate, _llama_bench(setup, answers[0].prompt_tokens)


def _llama_bench(setup: Setup, num_tokens: int) -> float:
    """Return the tokens a second of a prompt alone, the second time it is computed."""
    tool = peer.find_tool("llama-bench")
    if tool is None:
        raise PeerError("llama-bench was not compiled")
    command = [str(tool), "-m", str(setup.model), "-t", str(setup.threads), "-fa", "1"]
    command += ["-p", str(num_tokens), "-n", "0", "-r", "1", "-o", "json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise PeerError(f"llama-bench failed: {done.stderr[-500:]}")
    return float(json.loads(done.stdout)[0]["avg_ts"])
