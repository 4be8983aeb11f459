"""Benchmark of media against llama-server: same files, libraries, threads, context and load.

Both servers run all the time and take turns; the order changes each round, and each figure is the
median of the rounds. `0.6b` is a random Qwen 3 with a random SigLIP of 93 M parameters, whose
encode takes as long as a real one. guide's own projector has no layers: an encode takes a
millisecond, so that its rows show what else a picture costs, and its targets are lower.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import OURS, PEER, Contestant, Setup, StartError, both
from benchmarks.load import RefusedError
from benchmarks.media.projectors import ensure_projector
from benchmarks.media.rows import ROWS, MediaRow
from benchmarks.models import ensure_model
from benchmarks.peer import PeerError
from localrun.engine.threads import useful_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("0.1b", "0.6b", "1.7b", "guide")
CELLS = 20480  # 16 prompts without a shared prefix must fit, or the peer fails all
GUIDE_TARGET = 1.0


def main(arguments: list[str]) -> int:
    """Print a table for each pair; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench media", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", default="0.6b,guide", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--rows", help=f"of {', '.join(row.name for row in ROWS)}; default all")
    parser.add_argument("--threads", type=int, help="default: as localrun chooses")
    parser.add_argument("--seed", type=int, default=1, help="of the pictures")
    chosen = parser.parse_args(arguments)
    names = chosen.rows.split(",") if chosen.rows else [row.name for row in ROWS]
    rows = [row for row in ROWS if row.name in names]
    if len(rows) != len(names):
        parser.error(f"--rows knows {', '.join(row.name for row in ROWS)}")
    seeds = [100 * chosen.seed + number for number in range(chosen.rounds)]
    try:
        met = [_bench(name, rows, seeds, chosen.threads) for name in chosen.models.split(",")]
    except (PeerError, StartError) as error:
        print(error)
        return 1
    return 0 if all(met) else 1


def _bench(name: str, rows: list[MediaRow], seeds: Sequence[int], threads: int | None) -> bool:
    """Measure one pair and print its table; return whether all targets are met."""
    model = ensure_model(name, with_tiles=name != "guide")
    setup = Setup(
        model=model,
        threads=threads or useful_threads(model.stat().st_size),
        context=2048 if name == "guide" else CELLS,
        cells=CELLS,
        projector=ensure_projector(name),
    )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"\n{model.name} with {ensure_projector(name).name}: threads {setup.threads}, median of"
        f" {len(seeds)}; load of the machine at first {load}\n"
        f"{'':46}{OURS:>10}{PEER:>14}  {'':5}{'ratio':>6}"
    )
    with (
        tempfile.TemporaryDirectory(prefix="localrun-bench-") as folder,
        both(setup, Path(folder)) as pair,
    ):
        met = [_measure(row, pair, seeds, is_guide=name == "guide") for row in rows]
    return all(met)


def _measure(
    row: MediaRow, pair: tuple[Contestant, Contestant], seeds: Sequence[int], *, is_guide: bool
) -> bool:
    """Measure a row and print it; return whether its target is met."""
    values: dict[str, list[float]] = {OURS: [], PEER: []}
    try:
        for number, seed in enumerate(seeds):
            for server in pair if number % 2 == 0 else pair[::-1]:
                print(f"\r{row.name} {number + 1}: {server.name:20}", end="", file=sys.stderr)
                picture = 1000 * ROWS.index(row) + seed  # new to both servers
                values[server.name].append(row.measure(server, picture))
    except RefusedError as error:
        print(f"\r{row.about:46}cannot: {str(error).splitlines()[0][:90]}", flush=True)
        return False
    print(f"\r{'':40}\r", end="", file=sys.stderr)
    ours, theirs = statistics.median(values[OURS]), statistics.median(values[PEER])
    target = GUIDE_TARGET if is_guide else row.target
    is_met = theirs >= target * ours
    print(
        f"{row.about:46}{ours:10.3f}{theirs:14.3f}  {row.unit:5}{theirs / ours:6.1f}"
        f"   at least {target:g}: {'ok' if is_met else 'missed'}",
        flush=True,
    )
    return is_met
