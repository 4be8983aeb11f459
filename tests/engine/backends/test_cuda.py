"""CUDA's backend with no driver, a driver that fails, and one that works: all of them stubs."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from localrun.backends.failures import RememberedFailures
from localrun.backends.folder import install
from localrun.backends.package import open_package
from localrun.engine.llama.ggml import library_folder
from localrun.hardware.probe import probe_machine
from tests.backends.modules import compiled, packed
from tests.hardware.vulkan import ROOT
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.backends.state import BackendState
    from localrun.hardware.device import Machine

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
OLD = """
int cuDriverGetVersion(int *version) { *version = 11040; return 0; }
unsigned cuInit(unsigned flags) { return 35; }
"""
CRASHES = """
#include <stdlib.h>
unsigned cuInit(unsigned flags) { abort(); }
"""
HANGS = """
#include <unistd.h>
unsigned cuInit(unsigned flags) { for (;;) pause(); }
"""
OF_2016 = """
unsigned cuInit(unsigned flags) { return 0; }
unsigned cuDeviceGet(int *card, int index) { *card = index; return 0; }
unsigned cuDeviceGetAttribute(int *value, int attribute, int card) {
    *value = attribute == 75 ? 6 : 1;
    return 0;
}
"""
SHORT_S = 3.0  # a probe takes half a second on an idle machine


def driver(folder: Path, source: str) -> Path:
    """Compile a libcuda.so.1."""
    folder.mkdir(exist_ok=True)
    library = folder / "libcuda.so.1"
    command = ["cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-x", "c", "-"]
    command += ["-o", str(library)]
    subprocess.run(command, check=True, input=source.encode())
    return library


def answers(code: int) -> str:
    """Return the source of a driver whose initialization returns this code."""
    return f"unsigned cuInit(unsigned flags) {{ return {code}; }}"


def seen(machine: Machine) -> tuple[list[str], BackendState]:
    assert machine.failure is None
    (state,) = [state for state in machine.backends if state.backend == "cuda"]
    return [device.label for device in machine.devices if device.is_gpu], state


class Computer:
    """A machine with CUDA's module and a driver."""

    def __init__(self, folder: Path, source: str, **macros: str) -> None:
        self._folder = folder
        self.library = driver(folder / "driver", source)
        base = library_folder() / "libggml-base.so.0"
        module = compiled(folder, "cuda", self.library, base, DRIVER="1", **macros)
        with open_package(packed(folder, "cuda", module)) as package:
            install(package, folder / "localrun" / "backends")

    def replace_driver(self, source: str) -> None:
        driver(self.library.parent, source)

    def probe(self, **variables: str) -> tuple[list[str], BackendState]:
        """Return the labels of the GPUs, and the state of CUDA."""
        return seen(self._machine(HANG_S, variables))

    def probe_with_patience(self) -> tuple[list[str], BackendState]:
        """Probe with the shortest timeout that this machine allows: the driver may hang."""
        timeout_s = SHORT_S
        while (machine := self._machine(timeout_s, {})).failure is not None and timeout_s < HANG_S:
            timeout_s *= 2
        return seen(machine)

    def _machine(self, timeout_s: float, variables: dict[str, str]) -> Machine:
        names = ("XDG_DATA_HOME", "XDG_STATE_HOME")
        environ = {
            **os.environ,
            **{name: str(self._folder) for name in names},
            "PYTHONPATH": str(ROOT),
            "LD_LIBRARY_PATH": str(self.library.parent),
            **variables,
        }
        file = self._folder / "localrun" / "backend-failures.json"
        failures = RememberedFailures(environ, file)
        return probe_machine(environ, timeout_s=timeout_s, failures=failures)


def test_without_a_driver_the_module_is_skipped_and_its_library_is_named(tmp_path: Path) -> None:
    computer = Computer(tmp_path, answers(0))
    computer.library.unlink()

    devices, state = computer.probe()

    assert (devices, state.is_loaded) == ([], False)
    assert state.reason.startswith("libcuda.so.1: cannot open")
    assert state.fix in {"sudo apt install nvidia-driver", "docker run --gpus all ..."}


def test_a_driver_that_is_too_old_is_named_with_its_version(tmp_path: Path) -> None:
    devices, state = Computer(tmp_path, OLD).probe()

    assert (devices, state.is_loaded) == ([], True)
    assert state.reason == "NVIDIA's driver is too old: it is for CUDA 11.4"
    assert "driver" in state.fix


def test_a_driver_that_fails_leaves_the_module_without_devices(tmp_path: Path) -> None:
    devices, state = Computer(tmp_path, answers(803)).probe()

    assert (devices, state.is_loaded, state.fix) == ([], True, "sudo reboot")
    assert state.reason.startswith("NVIDIA's libraries and its kernel module are of different")


def test_cards_that_the_user_hid_are_no_fault_of_the_driver(tmp_path: Path) -> None:
    _, state = Computer(tmp_path, answers(100)).probe(CUDA_VISIBLE_DEVICES="")

    assert (state.reason, state.fix) == ("CUDA_VISIBLE_DEVICES= hides all cards", "")


@pytest.mark.parametrize(
    ("source", "ending"),
    [
        pytest.param(CRASHES, "was killed by SIGABRT", id="crashes"),
        pytest.param(HANGS, "took more than", id="hangs"),
    ],
)
def test_a_driver_that_breaks_is_remembered_until_it_changes(
    tmp_path: Path, source: str, ending: str
) -> None:
    computer = Computer(tmp_path, source)

    devices, state = computer.probe_with_patience()
    remembered = computer.probe()
    computer.replace_driver(answers(0))
    repaired, _ = computer.probe()

    assert (devices, state.fix) == ([], "localrun backend why --retry")
    assert state.reason.startswith(f"its last probe {ending}")
    assert remembered == (devices, state)  # within `HANG_S`: the driver was not called
    assert repaired == ["cuda:0"]


def test_a_driver_that_works_gives_a_device(tmp_path: Path) -> None:
    devices, state = Computer(tmp_path, answers(0)).probe()

    assert (devices, state.is_loaded, state.reason) == (["cuda:0"], True, "")


@pytest.mark.parametrize(
    ("archs", "gpus", "reason"),
    [
        ("750,860,1200", [], "compiled for cards of compute capability 7.5 and later, and stub"),
        ("500,750", ["cuda:0"], ""),
    ],
)
def test_a_card_that_the_module_has_no_code_for_is_no_device(
    tmp_path: Path, archs: str, gpus: list[str], reason: str
) -> None:
    devices, state = Computer(tmp_path, OF_2016, ARCHS=f'"{archs}"').probe()

    assert (devices, state.is_loaded, bool(state.reason)) == (gpus, True, bool(reason))
    assert reason in state.reason
