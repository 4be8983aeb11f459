"""Small programs on the launcher of the binary under test, whose Python is a shell script."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from packing.payload import HEAD, TRAILER_BYTES, write_program

from tests.program import BINARY
from tests.waiting import HANG_S

# as a Python: answers which glibc there is, else prints how it was started
PYTHON = """#!/bin/sh
if [ "$1" = -I ]; then echo "glibc ${GLIBC:-2.40}"; exit; fi
echo "started: $*"
echo "file: $LOCALRUN_BINARY"
env | grep ^PYTHON
exit 3
"""


@dataclass(frozen=True)
class Launched:
    """A small program, and where it unpacks."""

    file: Path
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.file, *words],
            check=False,
            capture_output=True,
            text=True,
            env=self.environ | variables,
            timeout=HANG_S,
        )

    def trees(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.name != "lock")


def launcher() -> bytes:
    """Return the launcher of the binary under test."""
    assert BINARY is not None
    data = Path(BINARY).read_bytes()
    return data[: HEAD.unpack_from(data[-TRAILER_BYTES:])[1]]


def program(folder: Path, content: str = "") -> Launched:
    """Return a small program; another content makes another version."""
    tree = folder / "tree"
    for name, text in {"bin/python": PYTHON, "bin/localrun": "", "lib/a/b.txt": content}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "bin" / "python").chmod(0o755)
    (tree / "lib" / "link").symlink_to("a/b.txt")
    facts = ["1.2.3", "bin/python", "bin/localrun", "lib/protocol.py", "3.13", "2.31"]
    file = folder / "localrun"
    write_program(launcher(), tree, file, 3, facts)
    unpacked = folder / "unpacked"
    environ = {"PATH": os.environ["PATH"], "LOCALRUN_UNPACK": str(unpacked), "LOCALRUN_WARM": "0"}
    return Launched(file, unpacked, environ)


@pytest.fixture(scope="module")
def tree() -> Path:
    """Return the tree of the binary, which a command unpacks."""
    subprocess.run([str(BINARY), "list"], check=True, capture_output=True)
    digest = HEAD.unpack_from(Path(str(BINARY)).read_bytes()[-TRAILER_BYTES:])[5]
    return Path(os.environ["LOCALRUN_UNPACK"], digest.hex()[:32]).resolve()


@pytest.fixture
def small(tmp_path: Path) -> Launched:
    """Return a small program."""
    if BINARY is None:
        pytest.skip("scripts/test --binary FILE runs it")
    return program(tmp_path)
