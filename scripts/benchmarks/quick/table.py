"""Benchmark of what a person waits for: commands, start, lists, first token; memory and wake-ups.

All contestants are measured in one run and take turns, so that noise affects them equally. Each
figure is the median of the rounds. Beside localrun: bare Python (`python -I -S -c pass`), another
version of localrun, Ollama, and llama-server with one slot, where their programs are given by an
option or a variable. Models are made beside the random models, which must be on a real disk.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import PEER, StartError
from benchmarks.page_cache import PagesStayError
from benchmarks.quick.commands import CommandError
from benchmarks.quick.field import in_state, ready
from benchmarks.quick.programs import BEFORE, OLLAMA, OURS, PYTHON
from benchmarks.quick.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.quick.field import Field
    from benchmarks.quick.programs import Program
    from benchmarks.quick.rows import Medians, Row

    Figures = dict[str, dict[str, list[float]]]  # of a row, by contestant

TERMINATED = 128 + signal.SIGTERM
PATIENCE_S, MIN_ROUNDS = 120.0, 3  # for a contestant in a row
COLUMNS = (BEFORE, OURS, OLLAMA, PEER)
VARIABLES = {
    BEFORE: "LOCALRUN_BENCH_BEFORE",
    OLLAMA: "LOCALRUN_BENCH_OLLAMA",
    PEER: "LOCALRUN_BENCH_LLAMA_SERVER",
}


def main(arguments: list[str]) -> int:
    """Print the table; return 1 if a target is missed."""
    chosen = _parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # no server stays behind
    paths = {name: getattr(chosen, _attribute(name)) for name in VARIABLES}
    is_large = any(row.state == "large" for row in chosen.rows)
    figures: Figures = {}
    try:
        with ready(paths, is_large=is_large) as field:
            is_met = _run(field, chosen.rows, chosen.rounds, figures)
    except (CommandError, PagesStayError, StartError) as error:
        print(error)
        return 1
    finally:
        if chosen.json:
            chosen.json.write_text(json.dumps(figures, indent=1))
    return 0 if is_met else 1


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options; ``rows`` are the chosen rows in the order of the table."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="scripts/bench quick", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", help=f"of {', '.join(names)}; default all")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    for contestant, variable in VARIABLES.items():
        about = f"its program; default: the variable {variable}"
        option = f"--{contestant.lower()}"
        parser.add_argument(option, default=os.environ.get(variable), metavar="PATH", help=about)
    chosen = parser.parse_args(arguments)
    wanted = chosen.rows.split(",") if chosen.rows else names
    if not set(wanted) <= set(names):
        parser.error(f"--rows knows {', '.join(names)}")
    chosen.rows = [row for row in ROWS if row.name in wanted]
    return chosen


def _attribute(contestant: str) -> str:
    return contestant.lower().replace("-", "_")


def _run(field: Field, rows: Sequence[Row], rounds: int, figures: Figures) -> bool:
    """Measure and print the rows; add their figures. Return whether all targets are met."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    present = {program.name for program in field.programs} | ({PEER} if field.peer else set())
    columns = [name for name in COLUMNS if name in present]
    heads = "".join(f"{name:>14}" for name in columns)
    print(
        f"median of {rounds}; load of the machine at first {load}\n"
        f"{'':46}{heads}{'target':>10}{'':10}{'/ Python':>10}"
    )
    medians: Medians = {}
    met = []
    for state, group in groupby(rows, key=lambda row: row.state):
        with in_state(field, state) as programs:
            for row in group:
                figures[row.name] = values = _measure(_turns(row, field, programs), row, rounds)
                medians[row.name] = {name: statistics.median(values[name]) for name in values}
                met.append(_show(row, medians, columns))
    return all(met)


def _turns(
    row: Row, field: Field, programs: Sequence[Program]
) -> list[tuple[str, Callable[[], float]]]:
    """Return the contestants of a row, each with its measure."""
    turns: list[tuple[str, Callable[[], float]]] = [
        (program.name, partial(row.measure, program))
        for program in programs
        if program.name != OLLAMA or row.is_of_ollama
    ]
    if row.bare is not None:
        turns.append((PYTHON, partial(row.bare, field.python)))
    if row.peer is not None and field.peer is not None:
        turns.append((PEER, partial(row.peer, field.peer, [field.model])))
    return turns


def _measure(
    turns: list[tuple[str, Callable[[], float]]], row: Row, rounds: int
) -> dict[str, list[float]]:
    """Return the figures of each contestant; the order of the turns changes each round.

    A contestant that takes too long gets fewer turns.
    """
    values: dict[str, list[float]] = {name: [] for name, _ in turns}
    spent_s = dict.fromkeys(values, 0.0)
    for number in range(min(rounds, row.max_rounds or rounds)):
        for name, measure in turns if number % 2 == 0 else turns[::-1]:
            if number >= MIN_ROUNDS and spent_s[name] > PATIENCE_S:
                continue
            print(f"\r{row.name} {number + 1}: {name:20}", end="", file=sys.stderr)
            begun = time.monotonic()
            values[name].append(measure())
            spent_s[name] += time.monotonic() - begun
    print(f"\r{'':50}\r", end="", file=sys.stderr)
    return values


def _show(row: Row, medians: Medians, columns: Sequence[str]) -> bool:
    """Print a row; return whether its target is met, if it has one."""
    own, limit = medians[row.name], row.limit(medians)
    cells = "".join(f"{own[name]:14.1f}" if name in own else f"{'':14}" for name in columns)
    is_met = limit is None or own[OURS] <= limit
    target = f"{'':10}" if limit is None else f"{limit:10.1f}"
    verdict = "" if limit is None else "  ok" if is_met else "  missed"
    ratio = f"{own[OURS] / own[PYTHON]:10.1f}" if PYTHON in own else ""
    print(f"{f'{row.about}, {row.unit}':46}{cells}{target}{verdict:10}{ratio}", flush=True)
    return is_met
