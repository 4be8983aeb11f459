"""Benchmark of ``localrun run guide "hi"``: wall time cold (no server) and warm (model loaded)."""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Print both medians; uses its own server on a free port."""
    parser = argparse.ArgumentParser(prog="scripts/bench answer", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args(arguments).rounds
    with socket.create_server(("127.0.0.1", 0)) as probe:
        os.environ["LOCALRUN_HOST"] = f"127.0.0.1:{probe.getsockname()[1]}"
    localrun = str(Path(sys.executable).with_name("localrun"))
    cold, warm = [], []
    for _ in range(rounds):
        cold.append(_wall_s([localrun, "run", "guide", "hi"]))
        warm += [_wall_s([localrun, "run", "guide", "hi"]) for _ in range(3)]
        subprocess.run([localrun, "stop", "--server"], check=True, stdout=subprocess.DEVNULL)
    print(
        f"cold {statistics.median(cold):.2f} s   warm {statistics.median(warm):.2f} s"
        f"   (median of {len(cold)} and {len(warm)})"
    )
    return 0


def _wall_s(command: list[str]) -> float:
    begun = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun
