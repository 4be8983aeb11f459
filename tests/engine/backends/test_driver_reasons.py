"""Reasons of drivers and of the linker, in the words of NVIDIA's and AMD's own libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.engine.backends import driver_reasons
from localrun.engine.backends.driver_reasons import DriverReason, explain
from localrun.hardware.unused import Surroundings

if TYPE_CHECKING:
    from pathlib import Path

HERE = Surroundings(python="/v/bin/python")
CONTAINER = Surroundings(python="/v/bin/python", is_container=True)
ONE_FILE = Surroundings(library_folder="/home/me/backends")
CUDA = "ggml_cuda_init: failed to initialize CUDA: "
ROCM = "ggml_cuda_init: failed to initialize ROCm: "
NO_FILE = "cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("said", "reason", "fix"),
    [
        (f"libcuda.so.1: {NO_FILE}", "libcuda.so.1: cannot open", "sudo apt install nvidia-driver"),
        (
            f"libcudart.so.13: {NO_FILE}",
            "libcudart.so.13: cannot open",
            '/v/bin/python -m pip install "nvidia-cuda-runtime==13.*" "nvidia-cublas==13.*"',
        ),
        (
            f"{CUDA}CUDA driver version is insufficient for CUDA runtime version",
            "NVIDIA's driver is too old",
            "sudo apt install nvidia-driver",
        ),
        (
            "/d/ggml-cuda.so: undefined symbol: cuMemCreate",
            "NVIDIA's driver is too old: it has no cuMemCreate",
            "sudo apt install nvidia-driver",
        ),
        (
            f"{CUDA}system has unsupported display driver / cuda driver combination",
            "NVIDIA's libraries and its kernel module are of different versions",
            "sudo reboot",
        ),
        (
            f"{CUDA}forward compatibility was attempted on non supported HW",
            "NVIDIA's package cuda-compat does not fit this card",
            "sudo apt remove 'cuda-compat-*'",
        ),
        (f"{CUDA}CUDA driver is a stub library", "libcuda.so.1 is a stub", "unset LD_LIBRARY_PATH"),
        (f"{CUDA}system not yet initialized", "NVIDIA's fabric manager", "sudo systemctl start"),
        (f"{CUDA}unknown error", "NVIDIA's driver fails with an unknown", "sudo modprobe -r"),
        (
            f"{CUDA}no CUDA-capable device is detected",
            "NVIDIA's driver finds no card",
            "nvidia-smi",
        ),
        (f"{CUDA}out of memory", f"{CUDA}out of memory", ""),
    ],
)
def test_what_cuda_says_is_a_reason_with_a_command(said: str, reason: str, fix: str) -> None:
    explained = explain("cuda", said, HERE)

    assert explained.text.startswith(reason)
    assert explained.fix.startswith(fix)
    assert bool(explained.fix) == bool(fix)


def test_a_driver_that_is_too_old_is_updated_outside_of_a_container() -> None:
    said = f"{CUDA}CUDA driver version is insufficient for CUDA runtime version"

    assert explain("cuda", said, CONTAINER).fix.startswith("update NVIDIA's driver on the host")


def test_both_versions_of_cuda_are_stated_if_they_are_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "maps").write_text("7f00 r-xp /v/nvidia/cu13/lib/libcudart.so.13\n")
    monkeypatch.setattr(driver_reasons, "MAPS", tmp_path / "maps")
    monkeypatch.setattr(driver_reasons, "_driver_version", lambda: "12.8")

    explained = explain("cuda", f"{CUDA}CUDA driver version is insufficient", HERE)

    assert explained.text == (
        "NVIDIA's driver is too old: it is for CUDA 12.8, and this backend needs CUDA 13"
    )


def test_a_program_of_one_file_has_nvidias_libraries_beside_its_backends() -> None:
    explained = explain("cuda", f"libcublas.so.13: {NO_FILE}", ONE_FILE)

    assert explained.fix == (
        "python3 -m pip install --target '/home/me/backends' "
        '"nvidia-cuda-runtime==13.*" "nvidia-cublas==13.*"'
    )


@pytest.mark.parametrize("library", ["libamdhip64.so.6", "libhipblas.so.2", "librocblas.so.4"])
def test_a_machine_without_rocm_is_told_what_brings_it(library: str) -> None:
    explained = explain("rocm", f"{library}: {NO_FILE}", HERE)

    assert explained.text == f"{library}: {NO_FILE}"
    assert explained.fix.startswith("sudo apt install rocm-hip-libraries")


def test_rocm_without_the_kernels_driver_or_without_access_is_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said, kfd = f"{ROCM}no ROCm-capable device is detected", tmp_path / "kfd"
    monkeypatch.setattr(driver_reasons, "KFD", kfd)
    without = explain("rocm", said, HERE)
    kfd.touch()
    found = explain("rocm", said, HERE)
    monkeypatch.setattr("os.access", lambda *_: False)
    closed = explain("rocm", said, HERE)

    assert without == DriverReason(
        "the kernel's driver amdgpu is not loaded", "sudo modprobe amdgpu"
    )
    assert found == DriverReason("ROCm finds no card that it can use", "rocminfo")
    assert closed.text == f"this user may not open {kfd}"
    assert "--device /dev/kfd" in explain("rocm", said, CONTAINER).fix


def test_what_is_not_known_is_passed_on() -> None:
    assert explain("vulkan", "it finds no device", HERE) == DriverReason("it finds no device")
