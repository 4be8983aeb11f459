"""Processes that change one store until they are killed.

As a program it reads an order a line and answers each with an outcome, both JSON:

    python -m tests.e2e.crashing FOLDER    (FOLDER/models is the store, FOLDER/files are imported)
    {"seeds": [4, 7], "operations": ["pull", "rm"], "run_s": 0.013, "gap_s": 0.002}
    {"begun": ["pull", "rm"], "failures": [], "num_killed": 2, "num_steps": 41}

It has imported everything and asked the hub what there is, and then forks: a worker
begins its first operation at once, so that a kill needs milliseconds. A step is what a
process asks of the disk or of a lock; the kill comes before it is done.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from localrun.registry.transfer import options
from localrun.registry.transfer import workers as streams
from localrun.services.pulling import pull
from localrun.services.workspace import open_workspace
from tests.e2e.operations import OPERATIONS, Work, make_plans
from tests.signals import SIGKILL
from tests.unix_calls import fork

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STEPS = {
    "fcntl.flock", "os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir",
    "os.truncate",
}  # fmt: skip
UNTOLD_STEPS = ("fsync", "fdatasync", "pwrite")  # Python tells an audit hook nothing of these
OFTEN_S = 0.02  # between two journals, so that kills fall upon these as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Let one worker for each seed do operations that it chooses."""

    seeds: Sequence[int]
    operations: Sequence[str] = tuple(OPERATIONS)
    most: int | None = None  # operations of a worker
    ends_s: float = 60.0  # since the start; later, no worker begins another operation
    run_s: float | None = None  # until the first is killed, since the first operation began
    gap_s: float = 0.0  # from the kill of one to that of the next
    step: int | None = None  # at which each kills itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the workers of an order did."""

    begun: list[str]
    failures: list[str]
    num_killed: int
    num_steps: int  # of those that ended by themselves


def main(folder: Path) -> None:
    """Follow orders until the standard input ends."""
    hurry = pytest.MonkeyPatch()
    hurry.setattr(streams, "JOURNAL_S", OFTEN_S)
    hurry.setattr(streams, "REPORT_S", OFTEN_S)
    hurry.setattr(pull, "DownloadOptions", partial(options.DownloadOptions, sync_s=OFTEN_S))
    plans = make_plans(open_workspace(os.environ))
    for line in sys.stdin:
        order = Order(**json.loads(line))
        workspace = open_workspace(os.environ)
        _ = workspace.http, workspace.models  # what takes time and has no connection yet
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


def _follow(order: Order, work: Sequence[Work]) -> Outcome:
    reader, writer = os.pipe()
    workers = [_fork(each, order, writer) for each in work]
    os.close(writer)
    with open(reader, "rb") as told:  # noqa: PTH123 - a descriptor
        first = told.readline()  # an operation begins
        if order.run_s is not None:
            time.sleep(order.run_s)
            for number, worker in enumerate(workers):
                time.sleep(order.gap_s if number else 0.0)
                os.kill(worker, SIGKILL)
        said = [json.loads(line) for line in (first, *told) if line]
    codes = [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
    return Outcome(
        begun=[each["begun"] for each in said if "begun" in each],
        failures=[each["failure"] for each in said if "failure" in each],
        num_killed=codes.count(-SIGKILL),
        num_steps=sum(each.get("num_steps", 0) for each in said),
    )


def _fork(work: Work, order: Order, writer: int) -> int:
    """Return the process that works; it never returns from here."""
    worker = fork()
    if worker:
        return worker
    tell = partial(_tell, writer)
    try:
        num_steps = _count_steps(work.workspace.store.layout.root, order.step)
        _work(work, order, tell)
        tell(num_steps=next(num_steps))
    except BaseException:  # noqa: BLE001 - told, and then the process ends
        tell(failure=traceback.format_exc())
    finally:
        os._exit(0)


def _tell(writer: int, **said: object) -> None:
    os.write(writer, json.dumps(said).encode() + b"\n")


def _work(work: Work, order: Order, tell: Callable[..., None]) -> None:
    end = time.monotonic() + order.ends_s
    for number in itertools.count():
        if number == order.most or time.monotonic() > end:
            return
        name = work.chance.choice(order.operations)
        tell(begun=name)
        try:
            OPERATIONS[name](work)
        except Exception:  # noqa: BLE001 - told to the test
            tell(failure=f"{name}: {traceback.format_exc()}")


def _count_steps(root: Path, last: int | None) -> itertools.count[int]:
    """Count this process's steps from now on, and kill it at the last one."""
    steps, prefix = itertools.count(), str(root)

    def take() -> None:
        if next(steps) == last:
            os.kill(os.getpid(), SIGKILL)

    def hear(event: str, args: tuple[Any, ...]) -> None:
        if event in STEPS or (event == "open" and str(args[0]).startswith(prefix)):
            take()

    for name in UNTOLD_STEPS:
        setattr(os, name, _preceded(take, getattr(os, name)))
    sys.addaudithook(hear)
    return steps


def _preceded(take: Callable[[], None], call: Callable[..., object]) -> Callable[..., object]:
    @wraps(call)
    def stepping(*args: object) -> object:
        take()
        return call(*args)

    return stepping


if __name__ == "__main__":
    main(Path(sys.argv[1]))
