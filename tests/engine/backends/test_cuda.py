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

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.backends.state import BackendState

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
TOO_OLD = 35  # cudaErrorInsufficientDriver
NO_DRIVER = None


def driver(folder: Path, code: int) -> Path:
    """Compile a libcuda.so.1 whose initialization returns this code."""
    folder.mkdir()
    library = folder / "libcuda.so.1"
    source = f"unsigned cuInit(unsigned flags) {{ return {code}; }}".encode()
    command = ["cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-x", "c", "-"]
    command += ["-o", str(library)]
    subprocess.run(command, check=True, input=source)
    return library


def probed(tmp_path: Path, code: int | None) -> tuple[list[str], BackendState]:
    """Return the devices and the state of CUDA with a driver, or with none."""
    library = driver(tmp_path / "driver", code or 0)
    base = library_folder() / "libggml-base.so.0"
    module = compiled(tmp_path, "cuda", library, base, DRIVER="1")
    if code is NO_DRIVER:
        library.unlink()
    with open_package(packed(tmp_path, "cuda", module)) as package:
        install(package, tmp_path / "localrun" / "backends")
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XDG_DATA_HOME": str(tmp_path),
        "LD_LIBRARY_PATH": str(library.parent),
    }
    machine = probe_machine(environ, failures=RememberedFailures({}, tmp_path / "failures.json"))
    assert machine.failure is None
    (state,) = [state for state in machine.backends if state.backend == "cuda"]
    return [device.label for device in machine.devices if device.is_gpu], state


def test_without_a_driver_the_module_is_skipped_and_its_library_is_named(tmp_path: Path) -> None:
    devices, state = probed(tmp_path, NO_DRIVER)

    assert (devices, state.is_loaded) == ([], False)
    assert state.reason.startswith("libcuda.so.1: cannot open")
    assert state.fix in {"sudo apt install nvidia-driver", "docker run --gpus all ..."}


def test_a_driver_that_is_too_old_leaves_the_module_without_devices(tmp_path: Path) -> None:
    devices, state = probed(tmp_path, TOO_OLD)

    assert (devices, state.is_loaded) == ([], True)
    assert state.reason == "ggml_cuda_init: failed to initialize CUDA: error 35"


def test_a_driver_that_works_gives_a_device(tmp_path: Path) -> None:
    devices, state = probed(tmp_path, 0)

    assert (devices, state.is_loaded, state.reason) == (["cuda:0"], True, "")
