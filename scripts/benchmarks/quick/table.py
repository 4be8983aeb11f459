"""Benchmark of what a person waits for: commands, start, lists, first token; memory and wake-ups.

All contestants are measured in one run and take turns, so that noise affects them equally. Each
figure is the median of the rounds. Beside localrun: bare Python (`python -I -S -c pass`), another
version of localrun, Ollama, and llama-server with one slot, where their programs are given by an
option or a variable. Models are made beside the random models, which must be on a real disk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import peer
from benchmarks.contestants import PEER, Contestant, StartError, free_port
from benchmarks.models import ensure_model
from benchmarks.page_cache import PagesStayError
from benchmarks.quick.commands import CommandError
from benchmarks.quick.programs import (
    BEFORE,
    OLLAMA,
    OURS,
    PYTHON,
    BarePython,
    Program,
    one_slot,
)
from benchmarks.quick.rows import ROWS, Medians, Row, State
from benchmarks.quick.stock import CONTEXT, add_many, add_models
from localrun.engine.threads import useful_threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COLUMNS = (BEFORE, OURS, OLLAMA, PEER)
VARIABLES = {
    BEFORE: "LOCALRUN_BENCH_BEFORE",
    OLLAMA: "LOCALRUN_BENCH_OLLAMA",
    PEER: "LOCALRUN_BENCH_LLAMA_SERVER",
}
MANY: dict[State, int] = {"few": 60, "many": 400}


@dataclass(slots=True)
class Field:
    """The contestants of a run; ``peer`` is None if there is no llama-server."""

    programs: list[Program]
    peer: Contestant | None
    python: BarePython
    model: Path


def main(arguments: list[str]) -> int:
    """Print the table; return 1 if a target is missed."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="scripts/bench quick", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", help=f"of {', '.join(names)}; default all")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    for contestant, variable in VARIABLES.items():
        option = f"--{contestant.lower()}"
        about = f"its program; default: {variable}"
        parser.add_argument(option, default=os.environ.get(variable), help=about)
    chosen = parser.parse_args(arguments)
    wanted = chosen.rows.split(",") if chosen.rows else names
    rows = [row for row in ROWS if row.name in wanted]
    if len(rows) != len(wanted):
        parser.error(f"--rows knows {', '.join(names)}")
    try:
        with _field(chosen.before, chosen.ollama, chosen.llama_server, rows) as field:
            figures = _run(field, rows, chosen.rounds)
    except (CommandError, PagesStayError, StartError) as error:
        print(error)
        return 1
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1))
    return 0


@contextlib.contextmanager
def _field(
    before: str | None, ollama: str | None, server: str | None, rows: Sequence[Row]
) -> Iterator[Field]:
    """Yield the contestants with their models."""
    ours = str(Path(sys.executable).with_name("localrun"))
    paths = {BEFORE: before, OURS: ours, OLLAMA: ollama}
    is_large = any(row.state == "large" for row in rows)
    made = ensure_model("0.6b") if is_large else None
    with tempfile.TemporaryDirectory(prefix="quick-", dir=made and made.parent) as folder:
        model = Path(folder, "model.gguf")
        if made is not None:  # a copy, since a program that maps the file keeps its pages in memory
            shutil.copy(made, model)
        programs = [
            _program(name, path, Path(folder, name.lower())) for name, path in paths.items() if path
        ]
        for program in programs:
            with program.serving():
                add_models(program, model if is_large else None)
        found = server or peer.find_server()
        slot = _peer(Path(found), model, Path(folder)) if found and is_large else None
        yield Field(programs, slot, BarePython(), model)


def _program(name: str, path: str, folder: Path) -> Program:
    folder.mkdir()
    return Program(name=name, path=path, folder=folder, port=free_port())


def _peer(program: Path, model: Path, folder: Path) -> Contestant:
    threads = str(useful_threads(model.stat().st_size))
    settings = ["--ctx-size", str(CONTEXT), "--threads", threads, "--threads-batch", threads]
    return one_slot(program, model, folder, settings, free_port())


def _run(field: Field, rows: Sequence[Row], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Measure and print the rows; return the figures of each row by contestant."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    columns = [name for name in COLUMNS if name in {PEER, *(p.name for p in field.programs)}]
    heads = "".join(f"{name:>14}" for name in columns)
    print(
        f"median of {rounds}; load of the machine at first {load}\n"
        f"{'':44}{heads}{'target':>10}{'':10}{'/ Python':>10}"
    )
    figures: dict[str, dict[str, list[float]]] = {}
    medians: Medians = {}
    for state, group in groupby(rows, key=lambda row: row.state):
        with _in_state(field, state) as programs:
            for row in group:
                figures[row.name] = _measure(row, field, programs, rounds)
                medians[row.name] = {
                    name: statistics.median(values) for name, values in figures[row.name].items()
                }
                _show(row, medians, columns)
    return figures


@contextlib.contextmanager
def _in_state(field: Field, state: State) -> Iterator[list[Program]]:
    """Yield the programs of a state, with their servers where the state has one."""
    with contextlib.ExitStack() as stack:
        programs = field.programs
        if state in MANY:
            programs = [_with_many(program, MANY[state], stack) for program in programs]
        elif state in {"loaded", "large", "quiet"}:
            loaded = ("guide",) if state == "loaded" else ()
            for program in programs:
                stack.enter_context(program.serving(*loaded))
        yield programs


def _with_many(program: Program, count: int, stack: contextlib.ExitStack) -> Program:
    """Return the program with a server on a store of this many models."""
    filled = program.with_store(f"store-{count}", free_port())
    if program.name != OLLAMA:
        add_many(filled, count)
    stack.enter_context(filled.serving())
    if program.name == OLLAMA:
        add_models(filled, None)
        add_many(filled, count)
    return filled


def _measure(
    row: Row, field: Field, programs: Sequence[Program], rounds: int
) -> dict[str, list[float]]:
    """Return the figures of each contestant; the order of the turns changes each round."""
    turns = [
        (program.name, lambda program=program: row.measure(program))
        for program in programs
        if program.name != OLLAMA or row.is_of_ollama
    ]
    if row.bare is not None:
        turns.append((PYTHON, lambda: row.bare(field.python)))
    if row.peer is not None and field.peer is not None:
        turns.append((PEER, lambda: row.peer(field.peer, [field.model])))
    values: dict[str, list[float]] = {name: [] for name, _ in turns}
    for number in range(min(rounds, row.max_rounds or rounds)):
        for name, measure in turns if number % 2 == 0 else turns[::-1]:
            print(f"\r{row.name} {number + 1}: {name:20}", end="", file=sys.stderr)
            values[name].append(measure())
    print(f"\r{'':50}\r", end="", file=sys.stderr)
    return values


def _show(row: Row, medians: Medians, columns: Sequence[str]) -> None:
    own = medians[row.name]
    cells = "".join(f"{own[name]:14.1f}" if name in own else f"{'':14}" for name in columns)
    limit = row.limit(medians)
    target = f"{'':20}" if limit is None else f"{limit:10.1f}{_verdict(own[OURS], limit):10}"
    ratio = f"{own[OURS] / own[PYTHON]:10.1f}" if PYTHON in own else ""
    print(f"{f'{row.about}, {row.unit}':44}{cells}{target}{ratio}", flush=True)


def _verdict(figure: float, limit: float) -> str:
    return "  ok" if figure <= limit else "  missed"
