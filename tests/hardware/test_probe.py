from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from localrun.backends.failures import RememberedFailures
from localrun.hardware.device import DeviceKind
from localrun.hardware.probe import probe_machine
from localrun.hardware.report import write_line
from localrun.program import program_command
from tests.hardware.making import card, cpu, gpu
from tests.hardware.vulkan import ROOT
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.hardware.device import Machine

ANSWER = write_line(devices=[gpu("CUDA", unit_id="0000:c1:00.0"), cpu()])


def probe(code: str, timeout_s: float = HANG_S) -> Machine:
    """Ask a program in place of our own."""
    return probe_machine(
        os.environ, command=[sys.executable, "-S", "-c", code], timeout_s=timeout_s
    )


def test_the_real_probe_sees_the_processor() -> None:
    machine = probe_machine(os.environ)

    assert machine.failure is None
    assert DeviceKind.CPU in {device.kind for device in machine.devices}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.abort()", "killed by SIGABRT"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("print('no json'); print('{\"devices\": 7}')", "the probe ended"),
        ("import json; print(json.dumps({'failed': 'libcudart is missing'}))", "libcudart"),
    ],
)
def test_a_probe_that_does_not_answer_leaves_the_processor_and_a_reason(
    code: str, reason: str
) -> None:
    machine = probe(code)

    assert [device.backend for device in machine.devices] == ["CPU"]
    assert machine.devices[0].total_bytes == machine.cpu.total_bytes > 0
    assert reason in (machine.failure or "")


def test_a_driver_that_hangs_is_not_waited_for() -> None:
    machine = probe("import time; time.sleep(10**6)", timeout_s=0.3)

    assert "took more than 0.3 s" in (machine.failure or "")


def test_what_was_said_before_a_crash_holds() -> None:
    code = f"import os; print({ANSWER!r}, flush=True); os.abort()"

    machine = probe(code)

    assert machine.failure is None
    assert [device.label for device in machine.devices] == ["cuda:0", "cpu:0"]


def test_the_version_of_the_driver_comes_from_the_card() -> None:
    lines = ANSWER + write_line(cards=[card(driver="580.65")])

    machine = probe(f"print({lines!r})")

    assert [device.driver for device in machine.devices] == ["580.65", None]
    assert machine.unused == ()


def test_a_package_whose_libraries_are_missing_is_told_with_what_brings_them(
    tmp_path: Path,
) -> None:
    package = tmp_path / "llama_cpp"
    package.mkdir()
    failing = "raise RuntimeError('libcudart.so.12: cannot open shared object file')"
    for module in ("__init__.py", "llama_cpp.py"):
        (package / module).write_text(failing)
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}

    machine = probe_machine(environ)
    runner = subprocess.run(
        [*program_command(), "runner", "--fd", "0"],
        check=False,
        capture_output=True,
        text=True,
        env=environ,
    )

    assert [device.backend for device in machine.devices] == ["CPU"]
    for said in (machine.failure or "", runner.stderr.splitlines()[-1]):
        assert "libcudart.so.12" in said
        assert '"nvidia-cuda-runtime-cu12"' in said
    assert runner.returncode == 6


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_driver_that_breaks_while_it_lists_cards_is_not_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library = tmp_path / "libnvidia-ml.so.1"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    source = b"#include <stdlib.h>\nint nvmlInit_v2(void) { abort(); }"
    subprocess.run(command, check=True, input=source)
    environ = {
        **os.environ,
        "LD_LIBRARY_PATH": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(tmp_path),
    }
    failures = RememberedFailures(environ, tmp_path / "localrun" / "backend-failures.json")

    machines = [probe_machine(environ, failures=failures) for _ in range(2)]

    assert [machine.failure for machine in machines] == [None, None]
    assert [record.getMessage() for record in caplog.records] == [
        "the probe was killed by SIGABRT in the search for cards by nvidia, which is skipped"
    ]


def test_a_program_that_cannot_be_started_is_a_reason_too() -> None:
    machine = probe_machine(os.environ, command=["/nonexistent/localrun"])

    assert "cannot be started" in (machine.failure or "")
