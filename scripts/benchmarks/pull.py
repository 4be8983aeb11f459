"""Benchmark of download, resume and import on loopback, against curl, sha256sum and others.

A fake hub serves one file of random bytes behind a GGUF header. The contestants take turns, so that
noise affects all of them equally; each starts with an empty store, and the best round counts,
including start-up. Digests of the results are checked outside of the measured time. The page cache
is warm: the served and imported file is never read from the disk. Only localrun and the lines with
"sync" wait until their output is on the disk. Memory is preallocated before each run, because a
virtual machine writes a page at a tenth of the speed if its host must allocate it first.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.memory import warm
from benchmarks.model_file import ALIGNMENT, make_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
MODEL, NAME = "hf.co/bench/model:Q8_0", "model-Q8_0.gguf"
PIPE, SAVED, SYNCED = "curl | sha256sum", "curl -o, sha256sum", "curl -o, sync, sha256sum"
FAST = "curl -o, sync, openssl"
PULL, HUB = "localrun pull", "hf download"
CUT, RESUME = "localrun pull, killed", "localrun pull, resumed"
NOTHING = "localrun pull, complete"
IMPORT, SUM = "localrun import", "sha256sum"
KILL_AT = 0.9
MAX_RESUME, MAX_IMPORT, MIN_PULL = 0.12, 1.1, 1.0
SPACE = 3.0  # times the file: the file, a result and a reserve
WARM = 1.2  # times the file: the written result and a reserve


class WrongError(Exception):
    """A contestant failed or has wrong bytes, so its time is invalid."""


@dataclass(slots=True)
class Bench:
    """Paths and measurements of one run."""

    folder: Path
    size: int
    rate: int = 0  # limit of all downloads in bytes per second; 0: none
    digest: str = ""
    hub: str = ""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    known: list[float] = field(default_factory=list)  # fraction in the journal

    @property
    def source(self) -> Path:
        """Return the path of the served and imported file."""
        return self.folder / "hub" / "bench" / "model" / NAME

    @property
    def url(self) -> str:
        """Return the address of the served file."""
        return f"{self.hub}/bench/model/resolve/main/{NAME}"

    @property
    def work(self) -> Path:
        """Return the working folder, which is emptied before each turn."""
        return self.folder / "work"

    def best(self, name: str) -> float:
        """Return the best time of a contestant, in seconds."""
        return min(self.seconds[name])


def main(arguments: list[str]) -> int:
    """Print the tables; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="scripts/bench pull", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument(
        "--rate", type=int, default=0, help="most MB/s of each download, as over a real link"
    )
    parser.add_argument("--folder", help="where to write, on the disk to be measured")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="localrun-bench-", dir=chosen.folder) as folder:
        size = int(chosen.gigabytes * 1e9) // ALIGNMENT * ALIGNMENT
        bench = Bench(Path(folder), size, chosen.rate * 1_000_000)
        free = shutil.disk_usage(folder).free
        if free < SPACE * bench.size:
            print(f"{folder} has {free / 1e9:.1f} GB free, {SPACE * bench.size / 1e9:.1f} needed")
            return 2
        bench.digest = make_model(bench.source, bench.size)
        with _hub(bench):
            try:
                _measure(bench, chosen.rounds)
            except WrongError as error:
                print(error)
                return 1
        return _show(bench)


@contextlib.contextmanager
def _hub(bench: Bench) -> Iterator[None]:
    """Serve the file within the block."""
    command = [sys.executable, "-m", "tests.fakes.hub", str(bench.folder / "hub")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        try:
            bench.hub = (program.stdout.readline() if program.stdout else "").strip()
            _run(bench, ["curl", "-sfI", bench.url])  # the hub hashes the file at the first request
            yield
        finally:
            program.terminate()


def _measure(bench: Bench, rounds: int) -> None:
    """Run the contestants in turns."""
    contestants = _contestants(bench)
    for number in range(rounds):
        for name, act in contestants.items():
            shutil.rmtree(bench.work, ignore_errors=True)
            bench.work.mkdir()
            os.sync()  # pending writes of the previous contestant must not count
            print(f"\rround {number + 1} of {rounds}: {name:32}", end="", file=sys.stderr)
            act(bench)
    print(f"\r{'':60}\r", end="", file=sys.stderr)


def _contestants(bench: Bench) -> dict[str, Callable[[Bench], None]]:
    """Return the contestants whose programs are installed."""
    hf = Path(sys.executable).with_name("hf")
    return {
        PULL: _pull,
        **({HUB: _hub_download} if hf.is_file() and not bench.rate else {}),  # has no limit
        PIPE: lambda bench: _shell(bench, PIPE, 'curl -sf $LIMIT "$URL" | sha256sum'),
        SAVED: lambda bench: _shell(bench, SAVED, 'curl -sfo f $LIMIT "$URL" && sha256sum f'),
        SYNCED: lambda bench: _shell(
            bench, SYNCED, 'curl -sfo f $LIMIT "$URL" && sync f && sha256sum f'
        ),
        **({FAST: _openssl} if shutil.which("openssl") else {}),
        RESUME: _resume,
        IMPORT: _import,
        SUM: lambda bench: _shell(bench, SUM, 'sha256sum "$SOURCE"'),
    }


def _pull(bench: Bench) -> None:
    _clock(bench, PULL, _pulling(bench))
    _check_store(bench)
    _clock(bench, NOTHING, _pulling(bench))


def _hub_download(bench: Bench) -> None:
    hf = str(Path(sys.executable).with_name("hf"))
    _clock(bench, HUB, [hf, "download", "bench/model", NAME])
    file = next(bench.work.glob("hf/hub/*/snapshots/*/*"), None)
    _check_file(bench, file)


def _openssl(bench: Bench) -> None:
    script = 'curl -sfo f $LIMIT "$URL" && sync f && openssl dgst -sha256 -r f'
    _shell(bench, FAST, script)


def _shell(bench: Bench, name: str, script: str) -> None:
    output = _clock(bench, name, ["/bin/sh", "-c", script])
    if output.split()[:1] != [bench.digest]:
        raise WrongError(f"{name}: wrong bytes")


def _resume(bench: Bench) -> None:
    """Kill a pull near its end, and measure the resumed one."""
    data = bench.work / "store" / "partial" / bench.digest / "data"
    warm(int(WARM * bench.size))
    began = time.monotonic()
    with subprocess.Popen(_pulling(bench), env=_environ(bench), stderr=subprocess.DEVNULL) as first:
        while first.poll() is None and _allocated(data) < KILL_AT * bench.size:
            time.sleep(0.001)
        first.kill()
    if first.returncode == 0:
        raise WrongError("the pull was over before it could be killed; try more gigabytes")
    bench.seconds.setdefault(CUT, []).append(time.monotonic() - began)
    journal = json.loads(data.with_name("journal").read_bytes())
    bench.known.append(sum(end - start for start, end in journal["ranges"]) / bench.size)
    os.sync()
    _clock(bench, RESUME, _pulling(bench))
    _check_store(bench)


def _import(bench: Bench) -> None:
    _clock(bench, IMPORT, [*_localrun(), "import", str(bench.source)])
    _check_store(bench)


def _localrun() -> list[str]:
    return [sys.executable, "-m", "localrun"]


def _pulling(bench: Bench) -> list[str]:
    limit = ["--limit-rate", str(bench.rate)] if bench.rate else []
    return [*_localrun(), "pull", *limit, MODEL]


def _environ(bench: Bench) -> dict[str, str]:
    return os.environ | {
        "HF_ENDPOINT": bench.hub,
        "MODELSCOPE_ENDPOINT": bench.hub,
        "LOCALRUN_MODELS": str(bench.work / "store"),
        "HF_HOME": str(bench.work / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "URL": bench.url,
        "LIMIT": f"--limit-rate {bench.rate}" if bench.rate else "",
        "SOURCE": str(bench.source),
    }


def _clock(bench: Bench, name: str, command: list[str]) -> str:
    """Run a contestant and record its time; return its output."""
    warm(int(WARM * bench.size))
    began = time.monotonic()
    output = _run(bench, command)
    bench.seconds.setdefault(name, []).append(time.monotonic() - began)
    return output


def _run(bench: Bench, command: list[str]) -> str:
    folder = bench.work if bench.work.is_dir() else bench.folder
    done = subprocess.run(
        command, cwd=folder, env=_environ(bench), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise WrongError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _allocated(path: Path) -> int:
    """Return the number of allocated bytes of a file."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_blocks * 512
    return 0


def _check_store(bench: Bench) -> None:
    _check_file(bench, bench.work / "store" / "blobs" / "sha256" / bench.digest)


def _check_file(bench: Bench, path: Path | None) -> None:
    if path is None or not path.is_file():
        raise WrongError("a result is not where it should be")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != bench.digest:
            raise WrongError(f"{path}: wrong bytes")


def _show(bench: Bench) -> int:
    """Print the measurements; return 1 if a target is missed."""
    print(
        f"{bench.size / 1e9:.2f} GB on loopback, best of {len(bench.seconds[PULL])}, page cache"
        f" warm, all digests checked\n\n{'':28}{'seconds':>8}{'MB/s':>8}"
        f"{'/ ' + PIPE:>20}{'/ ' + SYNCED:>28}"
    )
    for name in (PULL, HUB, PIPE, SAVED, SYNCED, FAST):
        if name in bench.seconds:
            best = bench.best(name)
            ratios = f"{bench.best(PIPE) / best:20.2f}{bench.best(SYNCED) / best:28.2f}"
            print(f"{name:28}{best:8.2f}{bench.size / best / 1e6:8.0f}{ratios}")
    for name in (CUT, RESUME, NOTHING, IMPORT, SUM):
        print(f"{name:28}{bench.best(name):8.2f}")
    known = ", ".join(f"{100 * share:.0f} %" for share in bench.known)
    print(f"killed at {100 * KILL_AT:.0f} % of the bytes; the journals knew {known}\n")
    met = [_is_met(*target) for target in _targets(bench)]
    return 0 if all(met) else 1


def _targets(bench: Bench) -> list[tuple[str, float, float, bool]]:
    """Return the name, value and limit of each target, and whether the limit is a maximum."""
    pull = bench.best(PULL)
    return [
        (f"pull: speed of `{PIPE}`", bench.best(PIPE) / pull, MIN_PULL, False),
        (f"pull: speed of `{SYNCED}`", bench.best(SYNCED) / pull, MIN_PULL, False),
        ("resume: share of a whole pull", bench.best(RESUME) / pull, MAX_RESUME, True),
        ("import: times sha256sum", bench.best(IMPORT) / bench.best(SUM), MAX_IMPORT, True),
    ]


def _is_met(name: str, value: float, limit: float, is_maximum: bool) -> bool:  # noqa: FBT001
    is_met = value <= limit if is_maximum else value >= limit
    kind = "at most" if is_maximum else "at least"
    print(f"{name:42}{value:6.2f}   {kind} {limit}: {'ok' if is_met else 'missed'}")
    return is_met
