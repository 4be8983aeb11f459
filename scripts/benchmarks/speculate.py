"""Benchmark of speculative decoding: drafts that are accepted at a set rate, on the real engine.

Answers are scripted: a constraint lets each sequence sample its script's next token and no other,
so that the model computes all steps and the text is known before. The draft source knows the script
and drafts each token of it with the given probability, else a wrong one; drafting takes no time.
So the figures are those of verification and of the policy, and the rate is exact for any model:
the places of the first wrong tokens are drawn in equal shares, so that luck decides little.
`prompt lookup` is off. The engine runs in this process, without a server.

    peer      tokens per second of llama-server without drafts, over HTTP
    its       with drafts that it accepts at the same rate, of a model that is nearly free
    plain     those of this engine without drafts
    drafts    with them, and the ratios to plain and to the peer
    limit     the best ratio to plain of any fixed draft length at that rate, from times of steps
              over answers of the same length
    accepted  share of right draft tokens among those up to the first wrong one: the rate

A rate of 0 shows what drafts cost that are never accepted. Answers have as many tokens as take
``--seconds`` without drafts, at least `MIN_TOKENS`. With ``--draft`` or ``--mtp``, files that were
trained for guide draft instead, on localrun and llama-server alike: see `speculate_servers`.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.models import NAMES, ensure_model
from benchmarks.speculate_servers import ScriptedPeer, compare_servers
from localrun.engine.context import LlamaContext
from localrun.engine.engine import Engine
from localrun.engine.llama.library import start
from localrun.engine.llama.model import load_model
from localrun.engine.params import SamplingParams
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.sequence import Sequence
from localrun.engine.speculation.draft_plan import LENGTHS
from localrun.engine.speculation.speculator import MAX_DRAFTS, Speculator
from localrun.engine.threads import useful_threads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.engine.llama.model import Model

PROMPT_TOKENS = 32
CONTEXT = 512
SLOTS = 16
SCRIPT_IDS = (1000, 4000)  # ordinary tokens of all vocabularies here
GREEDY = SamplingParams(temperature=0)
MIN_TOKENS, MAX_TOKENS = 24, 320  # of an answer
MINUTE = 60
GOLDEN = (math.sqrt(5) - 1) / 2


class Script:
    """A constraint that allows the next token of a scripted answer."""

    failure: str | None = None

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = tokens
        self._position = 0

    def mask(self, logits: np.ndarray) -> None:
        """Forbid all tokens but one."""
        logits[:] = -np.inf
        logits[self.tokens[self._position]] = 0

    def accept(self, _token: int) -> None:
        """Move on; the scripted token was sampled."""
        self._position += 1

    def forced(self) -> list[int]:
        """Return nothing: the drafts are the oracle's."""
        return []


@dataclass(slots=True)
class Oracle:
    """Draft source that knows the scripts, and errs at a rate."""

    rate: float
    num_wrong: int = 0  # drafts with a wrong token
    num_drafts: int = 0
    name: str = "oracle"
    estimates_by_text: bool = False

    def acceptance(self, _seq: Sequence) -> float | None:
        """Return what a draft model expects before it knows better."""
        return 0.7

    def drafts(self, lengths: Mapping[Sequence, int]) -> dict[Sequence, tuple[int, ...]]:
        """Return scripted tokens, each wrong with the probability ``1 - rate``."""
        return {seq: self._draft(seq, length) for seq, length in lengths.items()}

    def retire(self, seq: Sequence) -> None:
        """Nothing is kept."""

    def _draft(self, seq: Sequence, length: int) -> tuple[int, ...]:
        script = seq.constraint
        if not isinstance(script, Script):
            return ()
        tokens = script.tokens[seq.num_generated : seq.num_generated + length]
        drawn = self.num_drafts * GOLDEN % 1  # spread evenly, in no pattern that lengths follow
        num_right = sum(drawn < self.rate ** (n + 1) for n in range(len(tokens)))
        self.num_drafts += 1
        self.num_wrong += num_right < len(tokens)
        return (*tokens[:num_right], *(token + 1 for token in tokens[num_right:]))


@dataclass(frozen=True, slots=True)
class Run:
    """Figures of one run."""

    tokens_per_s: float
    num_accepted: int  # draft tokens
    step_s: float  # mean


class Bench:
    """A loaded model."""

    def __init__(self, path: Path, threads: int | None) -> None:
        log = start()
        self.model: Model = load_model(
            [path], native_log=log, num_gpu_layers=0, on_progress=lambda _: None
        )
        self.threads = threads or useful_threads(self.model.size_bytes)
        self._limits = SchedulerLimits(
            num_slots=SLOTS,
            num_cells=SLOTS * CONTEXT,
            num_drafts=MAX_DRAFTS,
            stream_cells=CONTEXT,
        )
        self._context = LlamaContext(self.model, self._limits, num_threads=self.threads)

    def close(self) -> None:
        """Free the model."""
        self._context.close()
        self.model.close()

    def run(self, streams: int, num_tokens: int, speculation: Speculator | None) -> Run:
        """Generate so many answers together."""
        cache = self._context.open_cache()
        engine = Engine(
            self._context,
            Scheduler(self._limits, cache),
            pieces=self.model.pieces,
            eog=frozenset(),
            speculation=speculation,
        )
        rng = random.Random(streams)
        sequences = [_sequence(number, num_tokens, rng) for number in range(streams)]
        for seq in sequences:
            engine.submit(seq)
        while any(not seq.is_decoding for seq in sequences):
            engine.step()
        begun, num_before = time.perf_counter(), sum(seq.num_generated for seq in sequences)
        num_steps = 0
        while engine.has_work:
            engine.step()
            num_steps += 1
        seconds = time.perf_counter() - begun
        cache.clear()
        count = sum(seq.num_generated for seq in sequences) - num_before
        num_accepted = sum(seq.num_accepted for seq in sequences)
        return Run(count / seconds, num_accepted, seconds / num_steps)

    def step_times(self, streams: int, num_tokens: int) -> dict[int, float]:
        """Return the seconds of a step by the length of each sequence's draft.

        They are means over answers of ``num_tokens``, of which all drafts are accepted.
        """
        lengths = [n for n in (0, *LENGTHS) if n * streams <= MAX_DRAFTS]
        return {length: self._step_s(streams, length, num_tokens) for length in lengths}

    def _step_s(self, streams: int, length: int, num_tokens: int) -> float:
        """Return the least of two times, since other programs can only add to one."""
        runs = (self.run(streams, num_tokens, _Fixed(Oracle(1.0), length)) for _ in range(2))
        return min(run.step_s for run in runs)


class _Fixed(Speculator):
    """Always drafts so many tokens."""

    def __init__(self, oracle: Oracle, length: int) -> None:
        super().__init__([])
        self._oracle, self._length = oracle, length

    def propose(self, decoding: list[Sequence]) -> Mapping[Sequence, tuple[int, ...]]:  # type: ignore[override]
        """Return a draft of the same length for each sequence."""
        if not self._length:
            return {}
        return self._oracle.drafts(
            {seq: min(self._length, seq.max_tokens - len(seq.tokens) - 1) for seq in decoding}
        )


def main(arguments: list[str]) -> int:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(prog="scripts/bench speculate", description=__doc__)
    parser.add_argument("--models", default="guide,0.6b,1.7b", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--rates", default="0,0.5,0.7,0.9", help="shares of right draft tokens")
    parser.add_argument("--streams", default="1,4,16")
    parser.add_argument("--seconds", type=float, default=4.0, help="of an answer without drafts")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="default: as localrun chooses")
    parser.add_argument("--no-peer", action="store_true", help="leave llama-server out")
    parser.add_argument("--draft", type=Path, help="a draft model for guide, see above")
    parser.add_argument("--mtp", type=Path, help="guide with an MTP layer, see above")
    chosen = parser.parse_args(arguments)
    if chosen.draft or chosen.mtp:
        return compare_servers(chosen)
    for name in chosen.models.split(","):
        begun = time.monotonic()
        _show_model(ensure_model(name) if name in NAMES else Path(name), chosen)
        print(f"{name}: {(time.monotonic() - begun) / MINUTE:.1f} minutes", flush=True)
    return 0


def _show_model(path: Path, chosen: argparse.Namespace) -> None:
    """Print the table of a model."""
    bench = Bench(path, chosen.threads)
    print(f"\n{path.name}: threads {bench.threads}, median of {chosen.rounds}")
    print(
        f"{'streams':>8}{'rate':>6}{'peer':>9}{'its':>9}{'plain':>9}{'drafts':>9}{'/ plain':>9}"
        f"{'/ peer':>8}{'limit':>7}  accepted",
        flush=True,
    )
    peers: dict[float | None, ScriptedPeer] = {}
    try:
        if not chosen.no_peer:
            for rate in (None, *_rates(chosen)):
                peers[rate] = ScriptedPeer(path, bench.threads, rate)
        for streams in map(int, chosen.streams.split(",")):
            _show(bench, peers, streams, chosen)
    finally:
        for peer in peers.values():
            peer.stop()
        bench.close()


def _rates(chosen: argparse.Namespace) -> list[float]:
    return [float(rate) for rate in chosen.rates.split(",")]


def _show(
    bench: Bench,
    peers: Mapping[float | None, ScriptedPeer],
    streams: int,
    chosen: argparse.Namespace,
) -> None:
    """Print the lines of a number of streams."""
    rates = _rates(chosen)
    bench.run(streams, MIN_TOKENS, None)  # a first run reads the weights from the disk
    step_s = bench.run(streams, MIN_TOKENS, None).step_s
    num_tokens = round(min(MAX_TOKENS, max(MIN_TOKENS, chosen.seconds / step_s)))
    times = bench.step_times(streams, num_tokens)
    # one policy for all rounds of a rate, as a server keeps it
    oracles = {rate: Oracle(rate) for rate in rates}
    policies = {rate: Speculator([oracle]) for rate, oracle in oracles.items()}
    theirs: dict[float | None, list[float]] = {rate: [] for rate in (None, *rates)}
    plain: list[Run] = []
    drafts: dict[float, list[Run]] = {rate: [] for rate in rates}
    for _ in range(chosen.rounds):
        for rate, peer in peers.items():
            theirs[rate].append(peer.tokens_per_s(streams, num_tokens))
        plain.append(bench.run(streams, num_tokens, None))
        for rate in rates:
            drafts[rate].append(bench.run(streams, num_tokens, policies[rate]))
    peer_rate = {rate: statistics.median(each or [math.nan]) for rate, each in theirs.items()}
    slow = statistics.median(run.tokens_per_s for run in plain)
    for rate in rates:
        fast = statistics.median(run.tokens_per_s for run in drafts[rate])
        right = sum(run.num_accepted for run in drafts[rate])
        tried = right + oracles[rate].num_wrong
        accepted = f"{right / tried:.2f} of {tried}" if tried else "no drafts"
        limit = max(_expected(rate, length) * times[0] / s for length, s in times.items())
        print(
            f"{streams:8}{rate:6.1f}{peer_rate[None]:9.1f}{peer_rate[rate]:9.1f}{slow:9.1f}"
            f"{fast:9.1f}{fast / slow:9.2f}{fast / peer_rate[None]:8.2f}{limit:7.2f}  {accepted}",
            flush=True,
        )


def _expected(rate: float, length: int) -> float:
    """Return the expected tokens of a step of one sequence with a draft."""
    return sum(rate**n for n in range(length + 1))


def _sequence(number: int, num_tokens: int, rng: random.Random) -> Sequence:
    prompt = [rng.randrange(*SCRIPT_IDS) for _ in range(PROMPT_TOKENS)]
    script = [rng.randrange(*SCRIPT_IDS) for _ in range(num_tokens + 1)]
    return Sequence(
        request_id=number,
        tokens=prompt,
        max_tokens=PROMPT_TOKENS + num_tokens,
        sampling=GREEDY,
        constraint=Script(script),
    )
