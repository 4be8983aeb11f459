"""Benchmark of localrun's start-up, as a ratio to an empty Typer program.

The programs take turns, so that noise affects both equally. The figure is the median of the
processor time (user and system) over the rounds.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT = 1.3
BARE = '''
from typing import Annotated

from typer import Argument, Typer

app = Typer(pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def root(version: bool = False) -> None:
    """Empty Typer program."""
    if version:
        print("0.1.0")


@app.command()
def run(model: Annotated[str, Argument(help="A name.")]) -> None:
    """Do nothing."""


app()
'''


def main(arguments: list[str]) -> int:
    """Print the table; return 1 if a ratio exceeds the limit."""
    parser = argparse.ArgumentParser(prog="scripts/bench startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args(arguments).rounds
    localrun = str(Path(sys.executable).with_name("localrun"))
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, "bare.py")
        bare.write_text(BARE)
        worst = max(_compare(flag, localrun, str(bare), rounds) for flag in ("--version", "--help"))
    return 0 if worst <= LIMIT else 1


def _compare(flag: str, localrun: str, bare: str, rounds: int) -> float:
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(_cpu_ms([localrun, flag]))
        theirs.append(_cpu_ms([sys.executable, bare, flag]))
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(
        f"{flag:10} localrun {statistics.median(ours):6.1f} ms"
        f"   bare typer {statistics.median(theirs):6.1f} ms"
        f"   ratio {ratio:.2f} (at most {LIMIT})"
    )
    return ratio


def _cpu_ms(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
