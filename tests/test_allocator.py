from __future__ import annotations

import subprocess
import sys

import pytest

ROUNDS = """
import sys, threading
from pathlib import Path
from localrun.allocator import release_free_memory, use_one_arena

def anonymous_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))

def allocate():
    together.wait()
    blocks.extend(bytes(2000) for _ in range(4000))
    together.wait()

use_one_arena()
bytes(20_000_000)  # raises the size of free memory that glibc keeps
together = threading.Barrier(5)
blocks = []
before = anonymous_kb()
for _ in range(4):
    threading.Thread(target=allocate).start()
together.wait()
together.wait()
most = anonymous_kb()
blocks.clear()
release_free_memory()
print(before, most, anonymous_kb())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_memory_that_threads_have_freed_goes_back_to_the_system() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ROUNDS], check=True, capture_output=True, text=True
    )

    before, most, after = map(int, done.stdout.split())

    assert after - before < (most - before) / 4
