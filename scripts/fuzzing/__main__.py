"""Fuzzer of the GGUF reader: mutated headers of guide.gguf, in several processes.

A mutant passes if it is read or refused with an IntegrityError, within `SLOWEST_S` and
`MAX_MEMORY_MB`. To reproduce a mutant by its number: --first N --count 1.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fuzzing.mutate import Mutant, Mutator
from localrun.errors import IntegrityError
from localrun.gguf.header import read_header
from localrun.store.store import embedded_models

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

SLOWEST_S = 5.0  # of processor time, which does not depend on the load of the machine
HANG_S = 60.0  # then the worker prints its traceback and ends
MAX_MEMORY_MB = 200
SHOWN_REASONS = 30
MEMORY_FOLDER = "/dev/shm"  # noqa: S108 - Linux's; a disk is four times slower
REASON = re.compile(r"at byte \d+: (.*)")


@dataclass
class Result:
    """Result of one worker."""

    count: int = 0
    reasons: collections.Counter[str] = field(default_factory=collections.Counter)
    crashes: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = 0
    memory_mb: float = 0.0

    def add(self, other: Result) -> None:
        self.count += other.count
        self.reasons += other.reasons
        self.crashes += other.crashes
        self.memory_mb = max(self.memory_mb, other.memory_mb)
        if other.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest = other.slowest_s, other.slowest


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="mutants (a million)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    options = parser.parse_args()
    begun = time.monotonic()
    total = _run(range(options.first, options.first + options.count), options.workers)
    _print(total, time.monotonic() - begun)
    is_right = not total.crashes and total.slowest_s <= SLOWEST_S
    return 0 if is_right and total.memory_mb <= MAX_MEMORY_MB else 1


def _run(numbers: range, num_workers: int) -> Result:
    running = []
    for index in range(num_workers):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        share = numbers[index::num_workers]
        process = multiprocessing.Process(target=_work, args=(share, theirs))
        process.start()
        theirs.close()
        running.append((process, ours))
    total = Result()
    for process, ours in running:
        try:
            total.add(ours.recv())
        except EOFError:
            total.crashes.append("a worker ended early: see above")
        process.join()
    return total


def _work(numbers: range, answer: Connection) -> None:
    mutator = Mutator(embedded_models()["guide:latest"])
    result = Result()
    folder = MEMORY_FOLDER if Path(MEMORY_FOLDER).is_dir() else None
    with tempfile.NamedTemporaryFile(suffix=".gguf", dir=folder) as file:
        for number in numbers:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            _write(file.fileno(), mutator.mutant(number))
            _try(Path(file.name), number, result)
    faulthandler.cancel_dump_traceback_later()
    result.memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.send(result)


def _write(descriptor: int, mutant: Mutant) -> None:
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, mutant.data, 0)
    os.truncate(descriptor, mutant.size_bytes)


def _try(path: Path, number: int, result: Result) -> None:
    begun = time.process_time()
    try:
        read_header(path)
        reason = "read whole"
    except IntegrityError as error:
        match = REASON.search(error.message)
        reason = re.sub(r"\d+", "N", match[1] if match else error.message)
        reason = re.sub(r"'.*'", "NAME", reason)
    except Exception:  # noqa: BLE001 - this is what we look for
        result.crashes.append(f"mutant {number}: {traceback.format_exc()}")
        reason = "CRASH"
    took = time.process_time() - begun
    result.count += 1
    result.reasons[reason[:100]] += 1
    if took > result.slowest_s:
        result.slowest_s, result.slowest = took, number


def _print(total: Result, took_s: float) -> None:
    for reason, count in total.reasons.most_common(SHOWN_REASONS):
        print(f"{count:9}  {reason}")
    print(f"{total.count} mutants in {took_s:.0f} s, {len(total.crashes)} crashes")
    print(
        f"slowest {1000 * total.slowest_s:.0f} ms (mutant {total.slowest}), at most {SLOWEST_S} s"
    )
    print(f"memory of a worker {total.memory_mb:.0f} MB, at most {MAX_MEMORY_MB} MB")
    for crash in total.crashes[:5]:
        print(crash, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
