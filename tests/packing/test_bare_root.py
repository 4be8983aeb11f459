"""The binary on a system with hardly anything: the oldest C library, and no network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import elf
import pytest

from tests.e2e.test_sight import digit, encoded
from tests.media.test_documents import pdf
from tests.program import BINARY
from tests.waiting import HANG_S

ROOT = os.environ.get("LOCALRUN_TEST_BARE_ROOT")
STARTER = Path(__file__).with_name("bare.py")
SCRIPT = """
! command -v python3 perl gcc cc c++
./localrun run guide hi
./localrun run guide "and again" > one/again
echo {image} | base64 -d > one/seven.png
./localrun run guide "What is this + 4?" --image one/seven.png
echo {document} | base64 -d > one/report.pdf
./localrun run guide hi --file one/report.pdf > one/again
./localrun list
ls one/cache/localrun/unpacked | wc -l
./localrun stop --server
"""
# of the CPU backend, None for the one that is chosen; qemu counts as the newest of arm64
VARIANTS = {
    "x86_64": (None, "x64", "sse42", "sandybridge", "haswell"),
    "aarch64": (None, "armv8.0_1", "armv8.2_2", "armv8.6_1"),
}
ARCHITECTURE = elf.read(Path(BINARY)).machine if BINARY else "x86_64"
needs_root = pytest.mark.skipif(
    BINARY is None or ROOT is None, reason="scripts/test --binary FILE runs it, as the superuser"
)


@needs_root
@pytest.mark.parametrize("variant", VARIANTS[ARCHITECTURE])
def test_guide_answers_without_python_compiler_network_and_home(variant: str | None) -> None:
    media = {"image": encoded(digit("7")), "document": encoded(pdf("Hello"))}
    script = (f"export LOCALRUN_CPU_VARIANT={variant}\n" if variant else "") + SCRIPT.format(
        **media
    )
    apart = ["unshare", "--mount", "--net", "--pid", "--fork", "--propagation=private"]

    done = subprocess.run(
        [*apart, sys.executable, STARTER, str(ROOT), str(BINARY), script],
        check=False,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )

    assert done.returncode == 0, done.stderr
    answer, sum_of_picture, header, model, num_files = done.stdout.splitlines()
    assert answer.startswith("Hello!")
    assert sum_of_picture == "7 + 4 = 11."
    assert header.startswith("NAME")
    assert model.startswith("guide:latest")
    assert num_files == "2"  # one tree, and the lock
