"""Benchmark of localrun against llama-server: same GGUF, libraries, threads, context and load.

Both servers run all the time and take turns, so that noise affects both equally; the order changes
each round. Each figure is the median of the rounds, and the result is its ratio to the peer's. A
row that a server does not support shows the reason instead of a figure.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bursts import MOST_IDEALS, Times
from benchmarks.contestants import OURS, PEER, Contestant, Setup, StartError, both
from benchmarks.load import RefusedError
from benchmarks.models import NAMES, ensure_model
from benchmarks.peer import PeerError
from benchmarks.rows import ROWS, Row, Sizes
from localrun.engine.threads import useful_threads

GUIDE_SIZES = Sizes(stream=400, together=200, scale=0.58, long=1700)
RANDOM_SIZES = Sizes(stream=128, together=48)
MAX_EXTRA_MB = 60
PEER_CELLS = 20480  # 16 prompts without a shared prefix must fit, or the peer fails all


@dataclass(slots=True)
class Figures:
    """Figures of a row by server; ``refused`` has the reason if there is none."""

    values: dict[str, list[float]] = field(default_factory=lambda: {OURS: [], PEER: []})
    times: dict[str, list[Times]] = field(default_factory=lambda: {OURS: [], PEER: []})
    refused: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, measured: float | Times) -> None:
        """Add what a server was measured with."""
        if isinstance(measured, Times):
            self.times[name].append(measured)
            self.values[name].append(measured.seconds)
        else:
            self.values[name].append(measured)

    def median(self, name: str) -> float:
        """Return the figure of a server."""
        return statistics.median(self.values[name])

    def detail(self, name: str, about: str) -> float:
        """Return a detail of the figure of a server."""
        return statistics.median(times.details[about] for times in self.times[name])

    def ideals(self, name: str) -> float:
        """Return the figure in that of its ideal."""
        return statistics.median(times.seconds / times.ideal_s for times in self.times[name])


def main(arguments: list[str]) -> int:
    """Print a table for each model; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench serve", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default="0.6b,guide", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--rows", help=f"of {', '.join(row.name for row in ROWS)}; default all")
    parser.add_argument("--threads", type=int, help="default: as localrun chooses")
    chosen = parser.parse_args(arguments)
    names = chosen.rows.split(",") if chosen.rows else [row.name for row in ROWS]
    rows = [row for row in ROWS if row.name in names]
    if len(rows) != len(names):
        parser.error(f"--rows knows {', '.join(row.name for row in ROWS)}")
    try:
        met = [
            _bench(name, rows, chosen.rounds, chosen.threads) for name in chosen.models.split(",")
        ]
    except (PeerError, StartError) as error:
        print(error)
        return 1
    return 0 if all(met) else 1


def _bench(name: str, rows: list[Row], rounds: int, threads: int | None) -> bool:
    """Measure one model and print its table; return whether all targets are met."""
    model = ensure_model(name) if name in NAMES else Path(name).resolve()
    context = 2048 if name == "guide" else PEER_CELLS  # as many as localrun then allocates
    setup = Setup(
        model=model,
        threads=threads or useful_threads(model.stat().st_size),
        context=context,
        cells=PEER_CELLS,
    )
    sizes = GUIDE_SIZES if name == "guide" else RANDOM_SIZES
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"\n{model.name}: threads {setup.threads}, context {context}, of the peer {setup.cells},"
        f" median of {rounds}; load of the machine at first {load}\n"
        f"{'':46}{OURS:>10}{PEER:>14}  {'':9}{'ratio':>6}"
    )
    with (
        tempfile.TemporaryDirectory(prefix="localrun-bench-") as folder,
        both(setup, Path(folder)) as pair,
    ):
        met = [_show(row, _measure(row, pair, sizes, rounds)) for row in rows]  # shown at once
    return all(met)


def _measure(row: Row, pair: tuple[Contestant, Contestant], sizes: Sizes, rounds: int) -> Figures:
    figures = Figures()
    for number in range(rounds):
        for contestant in pair if number % 2 == 0 else pair[::-1]:
            if contestant.name in figures.refused:
                continue
            print(f"\r{row.name} {number + 1}: {contestant.name:20}", end="", file=sys.stderr)
            rng = random.Random(f"{row.name} {number}")  # the same text for both
            try:
                figures.add(contestant.name, row.measure(contestant, sizes, rng))
            except RefusedError as error:
                figures.refused[contestant.name] = str(error)
    print(f"\r{'':40}\r", end="", file=sys.stderr)
    return figures


def _show(row: Row, figures: Figures) -> bool:
    """Print a row; return whether its target is met."""
    for name, reason in figures.refused.items():
        print(f"{row.about:46}{name} cannot: {reason.splitlines()[0][:90]}", flush=True)
        return False
    ours, theirs = figures.median(OURS), figures.median(PEER)
    line = f"{row.about:46}{ours:10.2f}{theirs:14.2f}  {row.unit:9}"
    if row.name == "memory":
        is_met = ours - theirs <= MAX_EXTRA_MB
        print(f"{line}{ours - theirs:+6.0f}   at most +{MAX_EXTRA_MB}: {_word(is_met)}", flush=True)
        return is_met
    ratio = theirs / ours if row.is_less_better else ours / theirs
    is_met = ratio >= row.target
    print(f"{line}{ratio:6.2f}   at least {row.target}: {_word(is_met)}", flush=True)
    return _show_details(figures) and is_met


def _show_details(figures: Figures) -> bool:
    """Print the details of a row that has some; return whether it is near its ideal."""
    if not figures.times[OURS]:
        return True
    ours, theirs = figures.ideals(OURS), figures.ideals(PEER)
    is_met = ours <= MOST_IDEALS
    about = "  the same in that of its ideal"
    print(f"{about:46}{ours:10.2f}{theirs:14.2f}  {'':15}   at most {MOST_IDEALS}: {_word(is_met)}")
    for name in figures.times[OURS][0].details:
        ours, theirs = figures.detail(OURS, name), figures.detail(PEER, name)
        print(f"{f'  {name}':46}{ours:10.2f}{theirs:14.2f}  s", flush=True)
    return is_met


def _word(is_met: bool) -> str:  # noqa: FBT001 - its only argument
    return "ok" if is_met else "missed"
