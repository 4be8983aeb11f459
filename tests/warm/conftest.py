"""The probe, run in a worker and the ordinary way."""

from __future__ import annotations

import sys

assert sys.platform == "linux"  # elsewhere, mypy reads no further

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import HANG_S
from tests.warm import probe
from tests.warm_process import ROOT, warm_process

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBE = [sys.executable, "-m", "tests.warm.probe"]
ADDRESS = "probe"
Done = subprocess.CompletedProcess[bytes]


@dataclass(frozen=True)
class Probe:
    """The probe in an environment of its own; ``pid`` is the warm process."""

    folder: Path
    pid: int

    def environ(self, *, is_warm: bool, **variables: str) -> dict[str, str]:
        own = {
            "XDG_RUNTIME_DIR": str(self.folder),
            "LOCALRUN_HOST": ADDRESS,
            "LOCALRUN_WARM": "" if is_warm else "0",
            "PROBE_WAYS": str(self._ways),
        }
        return {**os.environ, **own, **variables}

    def start(
        self, *words: str, is_warm: bool, variables: dict[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [*PROBE, *words],
            env=self.environ(is_warm=is_warm, **(variables or {})),
            **{"cwd": ROOT, **pipes, **options},
        )

    def run(self, *words: str, is_warm: bool, stdin: bytes = b"", **options: Any) -> Done:
        """Run the probe to its end."""
        with self.start(*words, is_warm=is_warm, **options) as process:
            out, err = process.communicate(stdin, timeout=HANG_S)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def both(self, *words: str, way: str = probe.WARM, **options: Any) -> Done:
        """Run the probe both ways; compare the code and the bytes, and return one of them.

        ``way`` is the one that the run which may be warm takes.
        """
        self._ways.unlink(missing_ok=True)
        warm, ordinary = (self.run(*words, is_warm=is_warm, **options) for is_warm in (True, False))
        assert self.ways() in ([way, probe.ORDINARY], [])
        assert (warm.returncode, warm.stdout) == (ordinary.returncode, ordinary.stdout)
        assert without_frames(warm.stderr) == without_frames(ordinary.stderr)
        return warm

    def ways(self) -> list[str]:
        """Return the ways of all runs since the last comparison."""
        return [line.split()[0] for line in self._lines()]

    def pids(self) -> list[int]:
        """Return the processes that have run the probe since the last comparison."""
        return [int(line.split()[1]) for line in self._lines()]

    def forget(self) -> None:
        self._ways.unlink(missing_ok=True)

    def _lines(self) -> list[str]:
        return self._ways.read_text().splitlines() if self._ways.exists() else []

    @property
    def _ways(self) -> Path:
        return self.folder / "ways"


def without_frames(text: bytes) -> bytes:
    """Remove callers and addresses from a traceback: a worker has others."""
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(b"  ")]
    return re.sub(rb"0x[0-9a-f]+", b"0x", b"".join(lines))


@pytest.fixture(autouse=True)
def terminal_signals() -> Iterator[None]:
    """Let programs that a test starts be ended from a terminal, also if the tests may not be."""
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGQUIT)}
    for number in before:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def session_probe() -> Iterator[Probe]:
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:
        path = Path(folder, "localrun", f"{ADDRESS}.warm")
        with warm_process(path, module="tests.warm.holder") as pid:
            yield Probe(Path(folder), pid)


@pytest.fixture
def probed(session_probe: Probe) -> Probe:
    session_probe.forget()
    return session_probe


@pytest.fixture
def own_probe() -> Iterator[Probe]:
    """Return a probe with a warm process of this test, which may end."""
    with tempfile.TemporaryDirectory(prefix="probe-") as folder:
        path = Path(folder, "localrun", f"{ADDRESS}.warm")
        with warm_process(path, module="tests.warm.holder") as pid:
            yield Probe(Path(folder), pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)  # of a test that has stopped it and failed
