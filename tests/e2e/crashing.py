"""Processes that change one store until they are killed.

As a program it reads an order a line and answers each with an outcome, both JSON:

    python -m tests.e2e.crashing FOLDER    (FOLDER/models is the store, FOLDER/files are imported)
    {"seeds": [4, 7], "operations": ["pull", "remove"], "run_s": 0.013, "gap_s": 0.002,
     "is_killed": true}
    {"done": ["pull", "remove"], "failures": ["pull: ..."]}

It has imported everything and asked the hub what there is, and then forks: a worker
begins its first operation at once, so that a kill needs milliseconds. To add an operation,
write a function of `Work` and add it to OPERATIONS.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import NotFoundError
from localrun.names.parse import parse_name
from localrun.registry.http import Http
from localrun.services.importing import import_path
from localrun.services.naming import copy_model, remove_model
from localrun.services.plan import Plan, make_plan
from localrun.services.pull import PullOptions, run_plan
from localrun.services.report import Silence
from localrun.services.workspace import Workspace, open_workspace
from localrun.store.archive import export_model, import_archive
from localrun.store.sweep import PARTIAL_KEPT_S, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REMOTE = tuple(f"hf.co/crash/{name}" for name in ("small", "large", "split", "plain"))
COPIES = ("copy-1", "copy-2")
LOCAL = (*COPIES, "imported", "unpacked")
LONG_S = 600.0  # workers that wait for a kill


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Let one worker for each seed work, and then kill one after the other."""

    seeds: Sequence[int]
    run_s: float  # since the first operation began
    gap_s: float = 0.0  # from the kill of one to that of the next
    operations: Sequence[str] = ()  # these only, all if none is given
    is_killed: bool = True  # else they end by themselves, after the operation that they are at


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the workers of an order did; the last operation of each may have been cut short."""

    begun: list[str]
    failures: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an operation works on, and its choices."""

    workspace: Workspace
    plans: Sequence[Plan]
    files: Path
    chance: random.Random

    @property
    def any_name(self) -> str:
        """Return the name of a model that may be here or not."""
        return self.chance.choice([*REMOTE, *LOCAL])


def pull(work: Work) -> None:
    run_plan(work.workspace, work.chance.choice(work.plans), PullOptions(), Silence())


def import_file(work: Work) -> None:
    path = work.chance.choice(sorted(work.files.iterdir()))
    import_path(work.workspace, path, parse_name("imported"), Silence())


def copy(work: Work) -> None:
    target = work.chance.choice(COPIES)
    copy_model(work.workspace, parse_name(work.any_name), parse_name(target))


def remove(work: Work) -> None:
    remove_model(work.workspace, parse_name(work.any_name))


def prune(work: Work) -> None:
    sweep(work.workspace.store, partial_kept_s=work.chance.choice([0.0, PARTIAL_KEPT_S]))


def pack(work: Work) -> None:
    """Export a model into an archive that is not of the store, and import that."""
    name = work.any_name
    archive = work.files.with_name(f"archive-{os.getpid()}.tar")
    entry = work.workspace.store.find(parse_name(name))
    if entry is None:
        return
    try:
        with archive.open("wb") as out:
            export_model(work.workspace.store, entry, out)
        with archive.open("rb") as source:
            import_archive(work.workspace.store, source, name=parse_name("unpacked"))
    finally:
        archive.unlink()


def look(work: Work) -> None:
    """Do what ``list`` and ``run`` begin with."""
    work.workspace.models.list_models()
    work.workspace.models.find_model(work.any_name)


OPERATIONS: Mapping[str, Callable[[Work], None]] = {
    "pull": pull,
    "import": import_file,
    "cp": copy,
    "rm": remove,
    "prune": prune,
    "pack": pack,
    "look": look,
}


def main(folder: Path) -> None:
    """Follow orders until the standard input ends."""
    plans = [make_plan(open_workspace(os.environ), parse_name(name)) for name in REMOTE]
    workspace = _with_all_made(open_workspace(os.environ))
    for line in sys.stdin:
        order = Order(**json.loads(line))
        work = [
            Work(
                workspace=workspace,
                plans=plans,
                files=folder / "files",
                chance=random.Random(seed),  # noqa: S311 - no secret
            )
            for seed in order.seeds
        ]
        sys.stdout.write(json.dumps(asdict(_follow(order, work))) + "\n")
        sys.stdout.flush()


def _with_all_made(workspace: Workspace) -> Workspace:
    """Make once for all workers what takes time and has no connection yet."""
    made: tuple[Http, object] = workspace.http, workspace.store
    assert all(made)
    return workspace


def _follow(order: Order, work: Sequence[Work]) -> Outcome:
    reader, writer = os.pipe()
    workers = [_fork(each, order, writer) for each in work]
    os.close(writer)
    with open(reader, "rb") as told:  # noqa: PTH123 - a descriptor
        first = told.readline()  # an operation begins
        if order.is_killed:
            time.sleep(order.run_s)
            _kill(workers, order.gap_s)
        lines = [line.decode().rstrip() for line in (first, *told)]
    if not order.is_killed:
        for worker in workers:
            os.waitpid(worker, 0)
    return Outcome(
        begun=[line for line in lines if ":" not in line],
        failures=[line for line in lines if ":" in line],
    )


def _kill(workers: Sequence[int], gap_s: float) -> None:
    for number, worker in enumerate(workers):
        time.sleep(gap_s if number else 0.0)
        os.kill(worker, signal.SIGKILL)
    for worker in workers:
        os.waitpid(worker, 0)


def _fork(work: Work, order: Order, writer: int) -> int:
    """Return the process that works; it never returns from here."""
    worker = os.fork()
    if worker:
        return worker
    try:
        _work(work, order, writer)
    except BaseException:  # noqa: BLE001 - told, and then the process ends
        os.write(writer, f"worker: {traceback.format_exc()!r}\n".encode())
    finally:
        os._exit(0)


def _work(work: Work, order: Order, writer: int) -> None:
    names = order.operations or list(OPERATIONS)
    end = time.monotonic() + (LONG_S if order.is_killed else order.run_s)
    while time.monotonic() < end:
        name = work.chance.choice(names)
        os.write(writer, f"{name}\n".encode())
        try:
            with suppress(NotFoundError):  # never here, or removed just now
                OPERATIONS[name](work)
        except Exception:  # noqa: BLE001 - told to the test
            os.write(writer, f"{name}: {traceback.format_exc()!r}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
