"""Reasons why a backend does not load or finds no device, with the command that changes it.

The dynamic linker and the runtime libraries of NVIDIA and AMD state them in words of their own:

    libcuda.so.1: cannot open shared object file: No such file or directory
    ggml_cuda_init: failed to initialize CUDA: CUDA driver version is insufficient for ...

A text that is not known here is passed on as it is.
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.hardware.choice import VISIBLE
from localrun.hardware.unused import library_command

if TYPE_CHECKING:
    from localrun.hardware.unused import Surroundings

UPDATE = "sudo apt install nvidia-driver"
UPDATE_HOST = "update NVIDIA's driver on the host of this container"
TOO_OLD = "NVIDIA's driver is too old"
KFD = Path("/dev/kfd")  # of the kernel's driver for AMD's cards
MAPS = Path("/proc/self/maps")
MAKERS = {"cuda": "nvidia", "rocm": "amd"}
NO_DEVICE = re.compile(r"no (?:CUDA|ROCm)-capable device")
MISSING_SYMBOL = re.compile(r"undefined symbol: (cu[A-Z]\w+)")
CUDART = re.compile(r"libcudart\.so\.(\d+)")


@dataclass(frozen=True, slots=True)
class DriverReason:
    """A reason, and the command to type, which may be empty."""

    text: str
    fix: str = ""


# parts of the texts of NVIDIA's runtime library
KNOWN = {
    "system has unsupported display driver": DriverReason(
        "NVIDIA's libraries and its kernel module are of different versions, as after an update",
        "sudo reboot",
    ),
    "forward compatibility was attempted": DriverReason(
        "NVIDIA's package cuda-compat does not fit this card", "sudo apt remove 'cuda-compat-*'"
    ),
    "driver is a stub library": DriverReason(
        "libcuda.so.1 is a stub from the CUDA toolkit, and no driver", "unset LD_LIBRARY_PATH"
    ),
    "system not yet initialized": DriverReason(
        "NVIDIA's fabric manager does not run, which connects the cards",
        "sudo systemctl start nvidia-fabricmanager",
    ),
    "CUDA: unknown error": DriverReason(
        "NVIDIA's driver fails with an unknown error, as after a suspend",
        "sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm",
    ),
}


def explain(backend: str, said: str, surroundings: Surroundings) -> DriverReason:
    """Return the reason for what a library or the linker said of a backend."""
    if NO_DEVICE.search(said):
        return _without_device(backend, surroundings)
    if backend == "cuda" and "driver version is insufficient" in said:
        return DriverReason(f"{TOO_OLD}{_versions()}", _update(surroundings))
    if backend == "cuda" and (symbol := MISSING_SYMBOL.search(said)):
        return DriverReason(f"{TOO_OLD}: it has no {symbol[1]}", _update(surroundings))
    known = (reason for part, reason in KNOWN.items() if backend == "cuda" and part in said)
    return next(known, None) or DriverReason(said, library_command(said, surroundings))


def missing_driver(backend: str) -> str:
    """Return the linker's text for CUDA's driver library, or an empty string if it can be opened.

    A machine without the driver lacks NVIDIA's other libraries too, which alone are of no use.
    """
    if backend != "cuda" or os.name == "nt":
        return ""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return str(error)
    return ""


def _without_device(backend: str, surroundings: Surroundings) -> DriverReason:
    for name in VISIBLE.get(MAKERS.get(backend, ""), ()):
        if name in surroundings.variables:
            return DriverReason(f"{name}={surroundings.variables[name]} hides all cards")
    if backend == "cuda":
        fix = "docker run --gpus all ..." if surroundings.is_container else "nvidia-smi"
        return DriverReason("NVIDIA's driver finds no card", fix)
    if surroundings.is_container:
        fix = "docker run --device /dev/dri --device /dev/kfd ..."
        return DriverReason("ROCm finds no card that it can use", fix)
    return _without_kfd(KFD)


def _without_kfd(kfd: Path) -> DriverReason:
    if not kfd.exists():
        return DriverReason("the kernel's driver amdgpu is not loaded", "sudo modprobe amdgpu")
    if not os.access(kfd, os.R_OK | os.W_OK):
        fix = "sudo usermod -aG render,video $USER   and log in again"
        return DriverReason(f"this user may not open {kfd}", fix)
    return DriverReason("ROCm finds no card that it can use", "rocminfo")


def _update(surroundings: Surroundings) -> str:
    return UPDATE_HOST if surroundings.is_container else UPDATE


def _versions() -> str:
    """Return the versions of CUDA that the driver has and the backend needs, as far as known."""
    driver, runtime = _driver_version(), _runtime_version()
    if not driver:
        return ""
    needed = f", and this backend needs CUDA {runtime}" if runtime else ""
    return f": it is for CUDA {driver}{needed}"


def _driver_version() -> str:
    """Return the version that the driver states without being initialized, or an empty string."""
    number = ctypes.c_int()
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return ""
    return f"{number.value // 1000}.{number.value % 1000 // 10}" if number.value else ""


def _runtime_version() -> str:
    """Return the major version of the runtime library in this process, or an empty string."""
    try:
        found = CUDART.search(MAPS.read_text(errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""
