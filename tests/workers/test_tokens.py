"""Tokens over workers are those of one machine that repacks no weights, bit by bit of its sums."""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # elsewhere there are no workers

import os
import shlex
import subprocess

import pytest

from localrun.services.machine.workers import has_rpc
from localrun.store.store import embedded_models
from tests.program import PROGRAM
from tests.waiting import HANG_S

GUIDE = embedded_models()["guide:latest"]
NUM_TOKENS = 24
COUNTS = (1, 2, 3) if "LOCALRUN_TEST_WORKERS" in os.environ else (2,)

pytestmark = pytest.mark.skipif(not has_rpc(), reason="llama.cpp has no RPC backend")


def greedy(num_workers: int) -> str:
    commands = [
        f"env NUMBER={number} {shlex.join(PROGRAM)} worker --threads 1"
        for number in range(num_workers)
    ]
    program = [sys.executable, "-m", "tests.workers.greedy", str(GUIDE), str(NUM_TOKENS)]
    done = subprocess.run(
        [*program, *commands], check=True, capture_output=True, text=True, timeout=HANG_S
    )
    return done.stdout


@pytest.fixture(scope="module")
def local_tokens() -> str:
    return greedy(0)


@pytest.mark.parametrize("num_workers", COUNTS)
def test_the_number_of_workers_changes_no_token(local_tokens: str, num_workers: int) -> None:
    assert local_tokens.count(",") == NUM_TOKENS - 1
    assert greedy(num_workers) == local_tokens
