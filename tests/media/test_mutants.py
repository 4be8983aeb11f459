"""Mutated images, sounds and PDF files are read or refused, whatever they do to a decoder.

A child process reads them, since a decoder may end it; `scripts/fuzz --media` reads 100,000.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NUM_MUTANTS = 240
ENDING_TARGET = """
import os
import fuzzing.__main__ as fuzzer

class Target:
    slowest_s, max_memory_mb = 60.0, 10_000

    def attempt(self, number):
        if number == 3:
            os._exit(9)
        return "read"

fuzzer.open_target = lambda name: Target()
result = fuzzer.run("media", range(6), 1)
print(result.count, *result.crashes, sep="|")
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "scripts"), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *words], env=environ, check=False, capture_output=True, text=True
    )


def test_mutants_of_every_format_end_in_pixels_samples_pages_or_one_error() -> None:
    done = run("-m", "fuzzing", "--media", "--count", str(NUM_MUTANTS), "--workers", "1")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{NUM_MUTANTS} mutants" in done.stdout
    assert "0 crashes" in done.stdout


def test_a_mutant_that_ends_the_process_is_named_and_the_others_are_read() -> None:
    done = run("-c", ENDING_TARGET)

    assert done.stdout == "5|mutant 3 ended its process (exit code 9)\n", done.stderr
