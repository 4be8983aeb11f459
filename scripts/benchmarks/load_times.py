"""Benchmark of loading: time from a server's start to the first token, against llama-server.

    start    from the start of the program; the request is sent as soon as the server answers
    load     localrun runs without a model; compared with the peer's start, which always loads

Cold means that the file is not in the page cache, warm that it is. The servers take turns, and only
one runs at a time. Each figure is the median of the rounds; ratios are to the peer's start.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import OURS, PEER, Setup, StartError, stopped
from benchmarks.models import NAMES, ensure_model
from benchmarks.page_cache import PagesStayError, drop, fill
from benchmarks.peer import PeerError
from localrun.engine.threads import useful_threads

if TYPE_CHECKING:
    from benchmarks.contestants import Contestant

CONTEXT = 2048
CELLS = 4 * CONTEXT  # of localrun's KV cache for this context, which are zeroed at the start
UNLOADED = b'{"model": "bench", "keep_alive": 0}'
LOAD = "localrun, load"


def main(arguments: list[str]) -> int:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(prog="scripts/bench load", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default="guide,0.6b", help=f"of {', '.join(NAMES)}")
    chosen = parser.parse_args(arguments)
    try:
        for name in chosen.models.split(","):
            _bench(ensure_model(name) if name in NAMES else Path(name).resolve(), chosen.rounds)
    except (PagesStayError, PeerError, StartError) as error:
        print(error)
        return 1
    return 0


def _bench(model: Path, rounds: int) -> None:
    threads = useful_threads(model.stat().st_size)
    setup = Setup(model=model, threads=threads, context=CONTEXT, cells=CELLS)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(
        f"\n{model.name}: threads {threads}, cache {CELLS}, seconds to the first token, median"
        f" of {rounds}; load of the machine at first {load}\n"
        f"{'':8}{OURS:>12}{PEER:>14}{'ratio':>8}{LOAD:>18}{'ratio':>8}"
    )
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=model.parent) as folder,  # on a real disk
        stopped(setup, Path(folder)) as pair,
    ):
        blobs = Path(folder, "store", "blobs").rglob("*")
        files = [model, *(path for path in blobs if path.is_file())]
        for is_cold in (True, False):
            _show("cold" if is_cold else "warm", _measure(pair, files, rounds, is_cold=is_cold))


def _measure(
    pair: tuple[Contestant, Contestant], files: list[Path], rounds: int, *, is_cold: bool
) -> dict[str, float]:
    times_s: dict[str, list[float]] = {OURS: [], PEER: [], LOAD: []}
    for number in range(rounds):
        for server in pair if number % 2 == 0 else pair[::-1]:
            print(f"\rround {number + 1}: {server.name:20}", end="", file=sys.stderr)
            (drop if is_cold else fill)(files)
            begun = time.monotonic()
            times_s[server.name].append(server.start().first_at - begun)
            if server.name == OURS:
                _unload(server)
                (drop if is_cold else fill)(files)
                answer = server.greet()
                times_s[LOAD].append(answer.first_at - answer.sent_at)
            server.stop()
    print(f"\r{'':40}\r", end="", file=sys.stderr)
    return {name: statistics.median(values) for name, values in times_s.items()}


def _show(name: str, medians: dict[str, float]) -> None:
    ours, theirs, load = medians[OURS], medians[PEER], medians[LOAD]
    print(
        f"{name:8}{ours:12.2f}{theirs:14.2f}{theirs / ours:8.2f}{load:18.2f}{theirs / load:8.2f}",
        flush=True,
    )


def _unload(server: Contestant) -> None:
    """Unload the model, and wait until its process has ended."""
    urllib.request.urlopen(f"http://127.0.0.1:{server.port}/api/generate", UNLOADED).close()
