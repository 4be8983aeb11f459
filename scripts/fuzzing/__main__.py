"""Fuzzer of files from outside: mutants of valid ones, in several processes.

    scripts/fuzz            a million GGUF headers
    scripts/fuzz --media    100,000 images, sounds and PDF files

A mutant passes if it is read or refused with an error of localrun, within the target's time and
memory. A process that a mutant ends is reported with the mutant's number, and replaced by another.
To reproduce a mutant: --first N --count 1 --workers 1.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import importlib
import multiprocessing
import os
import re
import resource
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.sharedctypes import Synchronized

HANG_S = 120.0  # then the worker prints its traceback and ends
SHOWN_REASONS = 40
MAX_CRASHES = 20  # of processes, until the rest is given up
COUNTS = {"headers": 1_000_000, "media": 100_000}
TARGETS = {"headers": "Headers", "media": "Media"}


class Target(Protocol):
    """What reads mutants; its bounds are for one mutant and one process."""

    slowest_s: float  # of processor time, which does not depend on the load of the machine
    max_memory_mb: int

    def attempt(self, number: int) -> str:
        """Read a mutant; return what came of it, without numbers that differ each time."""


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
    """Run the mutants; return 1 if one crashed, hung or exceeded a bound."""
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--media", action="store_true", help="images, sounds and PDF files")
    parser.add_argument("--count", type=int, help="mutants (a million headers, 100,000 media)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    options = parser.parse_args()
    name = "media" if options.media else "headers"
    count = COUNTS[name] if options.count is None else options.count
    begun = time.monotonic()
    total = run(name, range(options.first, options.first + count), options.workers)
    target = open_target(name)
    _print(total, target, time.monotonic() - begun)
    is_right = not total.crashes and total.slowest_s <= target.slowest_s
    return 0 if is_right and total.memory_mb <= target.max_memory_mb else 1


def open_target(name: str) -> Target:
    """Return a target of `TARGETS`."""
    target: Target = getattr(importlib.import_module(f"fuzzing.{name}"), TARGETS[name])()
    return target


def run(name: str, numbers: range, num_workers: int) -> Result:
    """Attempt all mutants in ``num_workers`` processes at a time."""
    workers = [_Worker(name, numbers[index::num_workers]) for index in range(num_workers)]
    total = Result()
    num_ended = 0
    while workers:
        worker = workers.pop()
        result = worker.result()
        total.add(result)
        if worker.rest and num_ended < MAX_CRASHES:
            num_ended += 1
            workers.append(_Worker(name, worker.rest))
    return total


class _Worker:
    """A process that attempts its share of the mutants."""

    def __init__(self, name: str, numbers: range) -> None:
        self._numbers = numbers
        self._place: Synchronized[int] = multiprocessing.Value("q", 0)  # in the numbers
        self._answer, theirs = multiprocessing.Pipe(duplex=False)
        arguments = (name, numbers, self._place, theirs)
        self._process = multiprocessing.Process(target=_work, args=arguments)
        self._process.start()
        theirs.close()
        self.rest = range(0)  # behind the mutant that ended the process

    def result(self) -> Result:
        """Wait for the end of the process; a process that was ended has a crash."""
        try:
            result: Result = self._answer.recv()
        except EOFError:
            place = self._place.value
            self._process.join()
            self.rest = self._numbers[place + 1 :]
            code = self._process.exitcode
            crash = f"mutant {self._numbers[place]} ended its process (exit code {code})"
            return Result(count=place, crashes=[crash])
        self._process.join()
        return result


def _work(name: str, numbers: range, place: Synchronized[int], answer: Connection) -> None:
    target = open_target(name)
    result = Result()
    for index, number in enumerate(numbers):
        place.value = index
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        _try(target, number, result)
    faulthandler.cancel_dump_traceback_later()
    result.memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.send(result)


def _try(target: Target, number: int, result: Result) -> None:
    begun = time.process_time()
    try:
        reason = re.sub(r"'.*'", "NAME", re.sub(r"\d+", "N", target.attempt(number)))
    except Exception:  # noqa: BLE001 - this is what we look for
        result.crashes.append(f"mutant {number}: {traceback.format_exc()}")
        reason = "CRASH"
    took = time.process_time() - begun
    result.count += 1
    result.reasons[reason[:100]] += 1
    if took > result.slowest_s:
        result.slowest_s, result.slowest = took, number


def _print(total: Result, target: Target, took_s: float) -> None:
    for reason, count in total.reasons.most_common(SHOWN_REASONS):
        print(f"{count:9}  {reason}")
    print(f"{total.count} mutants in {took_s:.0f} s, {len(total.crashes)} crashes")
    print(
        f"slowest {1000 * total.slowest_s:.0f} ms (mutant {total.slowest}),"
        f" at most {target.slowest_s} s"
    )
    print(f"memory of a worker {total.memory_mb:.0f} MB, at most {target.max_memory_mb} MB")
    for crash in total.crashes[:5]:
        print(crash, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
