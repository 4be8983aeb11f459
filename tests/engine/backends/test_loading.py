"""Loading of modules by the real probe, with stubs that crash, hang, or do not fit."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from localrun.backends.failures import RememberedFailures
from localrun.backends.folder import install, modules_folder
from localrun.backends.package import open_package
from localrun.engine.backends.loading import backends_of
from localrun.hardware.choice import choose
from localrun.hardware.probe import probe_machine
from tests.backends.modules import NAMES, compiled, packed
from tests.hardware.vulkan import ROOT
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.backends.state import BackendState
    from localrun.hardware.device import Machine

SHORT_S = 3.0  # a probe takes half a second on an idle machine


@dataclass
class Home:
    """Folders of a user who has only stubs."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        """Return the environment of a probe."""
        names = ("XDG_DATA_HOME", "XDG_STATE_HOME")
        return {**os.environ, "PYTHONPATH": str(ROOT)} | {n: str(self.folder / n) for n in names}

    @property
    def modules(self) -> Path:
        """Return the folder of modules."""
        return self.folder / "XDG_DATA_HOME" / "localrun" / "backends"

    def add(self, backend: str, macros: dict[str, str] | None = None, **manifest: str) -> Path:
        """Install a stub."""
        scratch = self.folder / backend
        library = compiled(scratch, backend, **(macros or {}))
        with open_package(packed(scratch, backend, library, **manifest)) as package:
            return install(package, self.modules).library

    def probe(self, timeout_s: float = HANG_S) -> Machine:
        """Probe the machine."""
        file = self.folder / "XDG_STATE_HOME" / "localrun" / "backend-failures.json"
        failures = RememberedFailures(self.environ, file)
        return probe_machine(self.environ, timeout_s=timeout_s, failures=failures)

    def probe_with_patience(self) -> Machine:
        """Probe with the shortest timeout that this machine allows: a module hangs."""
        timeout_s = SHORT_S
        while (machine := self.probe(timeout_s)).failure is not None and timeout_s < HANG_S:
            timeout_s *= 2
        return machine


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def state_of(machine: Machine, backend: str) -> BackendState:
    (state,) = [state for state in machine.backends if state.backend == backend]
    return state


def labels(machine: Machine) -> set[str]:
    return {device.label for device in machine.devices}


def test_modules_are_loaded_from_the_folder_and_the_better_one_gets_the_card(home: Home) -> None:
    unit = {"UNIT": '"0000:C1:00.0"'}
    home.add("vulkan", unit)
    home.add("cuda", unit)

    machine = home.probe()

    assert machine.failure is None
    assert labels(machine) == {"cuda:0", "vulkan:0", "cpu:0"}
    assert [device.label for device in choose(machine.devices, "auto", {})] == ["cuda:0"]
    assert [device.label for device in choose(machine.devices, "vulkan", {})] == ["vulkan:0"]
    assert all(state.is_loaded for state in machine.backends)
    assert machine.engine is not None


def test_backends_that_fail_are_skipped_and_remembered_and_cost_no_other(home: Home) -> None:
    home.add("cuda", {"ABORTS": "1"})
    home.add("rocm", {"HANGS": "1"})
    home.add("metal", {"CRASHES_LATER": "1"})
    home.add("vulkan")
    endings = {"cuda": "killed by SIGABRT", "rocm": "took more", "metal": "killed by SIGABRT"}

    for machine in (home.probe_with_patience(), home.probe()):
        assert machine.failure is None
        assert labels(machine) == {"vulkan:0", "cpu:0"}
        for backend, ending in endings.items():
            state = state_of(machine, backend)
            assert not state.is_loaded
            assert ending in state.reason
            assert state.fix == "localrun backend why --retry"

    home.add("cuda")  # repaired
    assert labels(home.probe()) == {"cuda:0", "vulkan:0", "cpu:0"}


def test_modules_that_do_not_fit_are_reasons(home: Home) -> None:
    home.add("cuda", {"ABORTS": "1"}, llama_cpp_commit="4df29be4f", ggml="0.24.0")
    home.add("rocm", {"UNRESOLVED": "1"})
    home.add("metal", {"API": "99"})
    home.add("vulkan", {"DEVICES": "0"})

    machine = home.probe()

    states = {backend: state_of(machine, backend) for backend in NAMES}
    assert "4df29be4f" in states["cuda"].reason or "0.24.0" in states["cuda"].reason
    assert states["cuda"].fix.startswith("localrun backend add localrun-backend-cuda-0.3.36-")
    assert "function_of_a_missing_driver" in states["rocm"].reason
    assert "incompatible API version" in states["metal"].reason
    assert states["vulkan"].reason == "it finds no device"
    assert [name for name, state in states.items() if state.is_loaded] == ["vulkan"]
    assert labels(machine) == {"cpu:0"}


def test_a_folder_that_others_may_write_is_not_searched(home: Home) -> None:
    home.add("cuda")
    home.modules.chmod(0o777)

    machine = home.probe()

    assert labels(machine) == {"cpu:0"}
    assert "other users may write" in state_of(machine, "cuda").reason


def test_the_working_directory_is_not_searched(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    library = compiled(home.folder / "here", "cuda", ABORTS="1")
    monkeypatch.chdir(library.parent)

    machine = home.probe()

    assert machine.failure is None
    assert machine.backends == ()


def test_modules_lie_in_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    assert modules_folder() == tmp_path / "localrun" / "backends"


@pytest.mark.parametrize(
    ("devices", "text", "backends"),
    [
        ((), "auto", set()),
        (None, "cpu", set()),
        (None, "auto", None),
        (None, "vulkan:1", None),
        (("CUDA0", "CUDA11"), "auto", {"cuda"}),
        (("ROCm0", "Vulkan1", "MTL0"), "auto", {"rocm", "vulkan", "metal"}),
    ],
)
def test_a_runner_loads_the_backends_of_its_devices(
    devices: tuple[str, ...] | None, text: str, backends: set[str] | None
) -> None:
    assert backends_of(devices, text) == backends
