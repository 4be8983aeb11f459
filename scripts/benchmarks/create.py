"""Benchmark of ``localrun create`` of a GGUF file, compared with cp and sha256sum.

The commands take turns, so that noise affects all of them equally. Each starts with an empty folder
on the file's file system; the best round counts, including start-up. The page cache is warm.
"create --copy" waits for the disk, like cp and sync.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.model_file import ALIGNMENT, make_model

CREATE, SUM = "localrun create", "sha256sum"
LOCALRUN = f"{sys.executable} -m localrun create made -f Modelfile"
CONTESTANTS = {  # shell commands, run in the empty folder
    CREATE: LOCALRUN,
    "localrun create --copy": f"{LOCALRUN} --copy",
    SUM: 'sha256sum "$SOURCE"',
    "cp": 'cp "$SOURCE" copy',
    "cp, sync": 'cp "$SOURCE" copy && sync copy',
}
MOST = 1.1
SPACE = 2.2  # times the file: the file, a copy and a reserve


def main(arguments: list[str]) -> int:
    """Print the table; return 1 if create takes more than `MOST` times a sha256sum."""
    parser = argparse.ArgumentParser(prog="scripts/bench create", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--folder", help="where to write, on the disk to be measured")
    chosen = parser.parse_args(arguments)
    size = int(chosen.gigabytes * 1e9) // ALIGNMENT * ALIGNMENT
    with tempfile.TemporaryDirectory(prefix="localrun-bench-", dir=chosen.folder) as folder:
        free = shutil.disk_usage(folder).free
        if free < SPACE * size:
            print(f"{folder} has {free / 1e9:.1f} GB free, {SPACE * size / 1e9:.1f} needed")
            return 2
        source = Path(folder, "source", "model.gguf")
        digest = make_model(source, size)
        best = _measure(source, Path(folder, "work"), digest, chosen.rounds)
    print(f"{size / 1e9:.2f} GB, best of {chosen.rounds}, page cache warm\n")
    print(f"{'':26}{'seconds':>8}{'MB/s':>8}{'/ ' + SUM:>14}{'/ cp':>8}")
    for name, seconds in best.items():
        ratios = f"{seconds / best[SUM]:14.2f}{seconds / best['cp']:8.2f}"
        print(f"{name:26}{seconds:8.2f}{size / seconds / 1e6:8.0f}{ratios}")
    is_met = best[CREATE] <= MOST * best[SUM]
    print(f"\ncreate takes at most {MOST} times {SUM}: {'ok' if is_met else 'missed'}")
    return 0 if is_met else 1


def _measure(source: Path, work: Path, digest: str, rounds: int) -> dict[str, float]:
    """Run the commands in turns; return the best time of each in seconds."""
    best = dict.fromkeys(CONTESTANTS, float("inf"))
    for number in range(rounds):
        for name, script in CONTESTANTS.items():
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            (work / "Modelfile").write_text(f"FROM {source}\n")
            os.sync()  # pending writes of the previous command must not count
            print(f"\rround {number + 1} of {rounds}: {name:32}", end="", file=sys.stderr)
            begun = time.monotonic()
            _run(script, source, work)
            best[name] = min(best[name], time.monotonic() - begun)
            made = work / "store" / "blobs" / "sha256" / digest
            if name.startswith(CREATE) and not made.is_file():
                raise SystemExit(f"{name}: {made} is not there")
    print(f"\r{'':60}\r", end="", file=sys.stderr)
    return best


def _run(script: str, source: Path, work: Path) -> None:
    environ = os.environ | {"LOCALRUN_MODELS": str(work / "store"), "SOURCE": str(source)}
    subprocess.run(
        ["/bin/sh", "-c", script], cwd=work, env=environ, check=True, stdout=subprocess.DEVNULL
    )
