"""The contestants of `scripts/bench quick`, and the states in which they are measured."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import peer
from benchmarks.contestants import PEER, Contestant, free_port
from benchmarks.models import ensure_model
from benchmarks.quick.programs import BEFORE, OLLAMA, OURS, BarePython, Program, one_slot
from benchmarks.quick.stock import CONTEXT, add_many, add_models
from localrun.engine.threads import useful_threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.quick.rows import State

MANY: dict[State, int] = {"few": 60, "many": 400}


@dataclass(slots=True)
class Field:
    """The contestants of a run; ``peer`` is None if there is no llama-server."""

    programs: list[Program]
    peer: Contestant | None
    python: BarePython
    model: Path


@contextlib.contextmanager
def ready(paths: Mapping[str, str | None], *, is_large: bool) -> Iterator[Field]:
    """Yield the contestants whose programs are given, with their models.

    Without ``is_large`` the large model is not made, and llama-server takes no part.
    """
    ours = str(Path(sys.executable).with_name("localrun"))
    given = {BEFORE: paths[BEFORE], OURS: ours, OLLAMA: paths[OLLAMA]}
    made = ensure_model("0.6b") if is_large else None
    with tempfile.TemporaryDirectory(prefix="quick-", dir=made and made.parent) as folder:
        model = Path(folder, "model.gguf")
        if made is not None:  # a copy, since a program that maps the file keeps its pages in memory
            shutil.copy(made, model)
        programs = [
            _program(name, path, Path(folder, name.lower())) for name, path in given.items() if path
        ]
        for program in programs:
            with program.serving():
                add_models(program, model if is_large else None)
        found = paths[PEER] or peer.find_server()
        slot = _peer(Path(found), model, Path(folder)) if found and is_large else None
        yield Field(programs, slot, BarePython(), model)


@contextlib.contextmanager
def in_state(field: Field, state: State) -> Iterator[list[Program]]:
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


def _program(name: str, path: str, folder: Path) -> Program:
    folder.mkdir()
    return Program(name=name, path=path, folder=folder, port=free_port())


def _peer(program: Path, model: Path, folder: Path) -> Contestant:
    threads = str(useful_threads(model.stat().st_size))
    settings = ["--ctx-size", str(CONTEXT), "--threads", threads, "--threads-batch", threads]
    return one_slot(program, model, folder, settings, free_port())
