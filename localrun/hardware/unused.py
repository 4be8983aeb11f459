"""Unused devices: GPUs that llama.cpp does not use, the reason, and the command to fix it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.backends.folder import modules_folder
from localrun.backends.manifest import package_name
from localrun.hardware.choice import VISIBLE
from localrun.hardware.device import UnusedDevice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localrun.backends.manifest import EngineBuild
    from localrun.hardware.device import Device
    from localrun.hardware.report import Card, ProbeReport

PACKAGE = "llama-cpp-python"
OWN_BACKEND = {"NVIDIA": "CUDA", "AMD": "ROCm", "Apple": "Metal", "Intel": "Vulkan"}
GENERAL_BACKEND = "Vulkan"
SWITCHES = {
    "CUDA": "GGML_CUDA",
    "ROCm": "GGML_HIP",
    "Metal": "GGML_METAL",
    "Vulkan": "GGML_VULKAN",
    "RPC": "GGML_RPC",
}
MODULES = {"CUDA": "cuda", "ROCm": "rocm", "Metal": "metal", "Vulkan": "vulkan"}
PACKAGED = frozenset({"CUDA", "ROCm", "Vulkan"})  # there are modules of them
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
RUNTIME = re.compile(r"lib(?:cudart|cublas|cublasLt)\.so\.(\d+)")
ROCM_LIBRARY = re.compile(r"lib(?:amdhip64|hipblas|hipblaslt|rocblas|rocsolver)\.so")
ROCM_COMMAND = (
    "sudo apt install rocm-hip-libraries   from AMD's repository (https://rocm.docs.amd.com)"
)
PINNED_RUNTIMES = 12  # up to this version the names of NVIDIA's packages end in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The installation and the environment, on which the commands depend."""

    python: str = "python3"
    version: str | None = None  # of llama-cpp-python
    has_pip: bool = True
    library_folder: str = ""  # for packages of libraries, if this program is one file
    is_container: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_this_process(cls, environ: Mapping[str, str]) -> Surroundings:
        """Return those of this process."""
        from importlib.metadata import PackageNotFoundError, version
        from importlib.util import find_spec

        try:
            installed: str | None = version(PACKAGE)
        except PackageNotFoundError:
            installed = None
        is_one_file = bool(getattr(sys, "frozen", False))
        return cls(
            python="python3" if is_one_file else sys.executable,
            version=installed,
            has_pip=is_one_file or find_spec("pip") is not None,
            library_folder=str(modules_folder()) if is_one_file else "",
            is_container=any(mark.exists() for mark in CONTAINER_MARKS),
            variables=environ,
        )


def find_unused(
    devices: Sequence[Device], report: ProbeReport, surroundings: Surroundings
) -> tuple[UnusedDevice, ...]:
    """Return each card once that is not among llama.cpp's devices."""
    gpus = [device for device in devices if device.is_gpu]
    return tuple(
        _explained(card, gpus, report, surroundings)
        for card in _merged(report.cards)
        if not any(_is_same(card, device) for device in gpus)
    )


def find_missing(devices: Sequence[Device], engine: EngineBuild | None) -> tuple[UnusedDevice, ...]:
    """Return NVIDIA's cards that compute by Vulkan because there is no CUDA, which is faster."""
    if engine is None or any(device.backend == "CUDA" for device in devices):
        return ()
    return tuple(
        UnusedDevice(
            "cuda",
            f"{device.description} computes by Vulkan, and CUDA is faster on it",
            _module_command("CUDA", engine.llama_cpp_python),
        )
        for device in devices
        if device.backend == GENERAL_BACKEND and "nvidia" in device.description.lower()
    )


def rebuild_command(backend: str, surroundings: Surroundings) -> str:
    """Return the command that compiles llama-cpp-python with a backend."""
    pinned = f"{PACKAGE}=={surroundings.version}" if surroundings.version else PACKAGE
    switch = f'CMAKE_ARGS="-D{SWITCHES[backend]}=on"'
    if surroundings.has_pip:
        options = f"--force-reinstall --no-deps --no-cache-dir --no-binary {PACKAGE}"
        return f"{switch} {surroundings.python} -m pip install {options} {pinned}"
    options = f"--reinstall-package {PACKAGE} --no-deps --no-cache --no-binary-package {PACKAGE}"
    return f"{switch} uv pip install --python {surroundings.python} {options} {pinned}"


def runtime_command(reason: str, backend: str, surroundings: Surroundings) -> str:
    """Return the command that installs the library that is missing in the linker's ``reason``."""
    missing = RUNTIME.search(reason)
    if missing is None:
        if "libcuda.so" in reason:
            return (
                "docker run --gpus all ..."
                if surroundings.is_container
                else ("sudo apt install nvidia-driver")
            )
        return rebuild_command(backend, surroundings)
    major = int(missing[1])
    names = ("nvidia-cuda-runtime", "nvidia-cublas")
    suffix = f"-cu{major}" if major <= PINNED_RUNTIMES else f"=={major}.*"
    wanted = " ".join(f'"{name}{suffix}"' for name in names)
    if surroundings.library_folder:
        wanted = f"--target '{surroundings.library_folder}' {wanted}"
    if surroundings.has_pip:
        return f"{surroundings.python} -m pip install {wanted}"
    return f"uv pip install --python {surroundings.python} {wanted}"


def library_command(reason: str, surroundings: Surroundings) -> str:
    """Return the command that installs the library that a backend lacks, or an empty string."""
    if "libvulkan.so" in reason:
        return "sudo apt install libvulkan1"
    if ROCM_LIBRARY.search(reason):
        return ROCM_COMMAND
    if RUNTIME.search(reason) or "libcuda.so" in reason:
        return runtime_command(reason, "CUDA", surroundings)
    return ""


def _merged(cards: Sequence[Card]) -> list[Card]:
    """Return each card once, by the source that knows most of it.

    Vulkan reports no address: its card counts as another one only if no other source lists a
    card of that maker.
    """
    merged: list[Card] = []
    order = ("nvml", "nvidia-smi", "kfd", "platform", "pci", "vulkan")
    for card in sorted(
        cards, key=lambda card: order.index(card.source) if card.source in order else 9
    ):
        if card.source == "vulkan":
            known = any(other.maker == card.maker or other.name == card.name for other in merged)
        else:
            known = any(other.unit_id == card.unit_id for other in merged if card.unit_id)
        if not known:
            merged.append(card)
    return merged


def _is_same(card: Card, device: Device) -> bool:
    if card.unit_id and device.unit_id:
        return card.unit_id == device.unit_id
    if card.name.lower() == device.description.lower():
        return True
    is_own = OWN_BACKEND.get(card.maker) == device.backend
    return is_own or (bool(card.maker) and card.maker.lower() in device.description.lower())


def _explained(
    card: Card, gpus: Sequence[Device], report: ProbeReport, surroundings: Surroundings
) -> UnusedDevice:
    backend = OWN_BACKEND.get(card.maker, GENERAL_BACKEND)
    hidden = [
        name for name in VISIBLE.get(card.maker.lower(), ()) if name in surroundings.variables
    ]
    is_built = any(device.backend == backend for device in gpus)
    if hidden:
        reason = f"{hidden[0]}={surroundings.variables[hidden[0]]} hides it"
        return UnusedDevice(card.name, reason, f"unset {hidden[0]}")
    state = next((state for state in report.backends if state.backend == MODULES[backend]), None)
    if state is not None and state.reason and state.fix:
        problem = "finds no device" if state.is_loaded else "does not load"
        reason = f"llama.cpp's {backend} backend {problem}: {state.reason}"
        return UnusedDevice(card.name, reason, state.fix)
    unloaded = report.unloaded.get(MODULES[backend])
    if unloaded is not None:
        reason = f"llama.cpp's {backend} backend does not load: {unloaded}"
        return UnusedDevice(card.name, reason, runtime_command(unloaded, backend, surroundings))
    if not _is_driven(card, report.cards):
        return _without_driver(card, surroundings)
    if is_built:
        reason = f"llama.cpp's {backend} backend does not list it"
        by = backend if card.maker == "NVIDIA" else GENERAL_BACKEND  # compiled for other cards
        return UnusedDevice(card.name, reason, rebuild_command(by, surroundings))
    reason = f"this build of llama.cpp has no {backend}"
    return UnusedDevice(card.name, reason, _backend_command(backend, report, surroundings))


def _backend_command(backend: str, report: ProbeReport, surroundings: Surroundings) -> str:
    """Return the command that brings a backend: a module, where nothing was compiled before."""
    if report.cpu_variant and report.engine and backend in PACKAGED:
        return _module_command(backend, report.engine.llama_cpp_python)
    return rebuild_command(backend, surroundings)


def _module_command(backend: str, version: str) -> str:
    return f"localrun backend add {package_name(backend.lower(), version)}"


def _is_driven(card: Card, cards: Sequence[Card]) -> bool:
    """Return whether the card has a driver that can compute.

    A card of NVIDIA that only the bus lists has none: NVIDIA's own library would list it.
    """
    if card.source != "pci":
        return True
    by_vulkan = any(other.source == "vulkan" and other.maker == card.maker for other in cards)
    return by_vulkan or (card.has_driver and card.maker != "NVIDIA")


def _without_driver(card: Card, surroundings: Surroundings) -> UnusedDevice:
    if surroundings.is_container:
        passed = "--gpus all" if card.maker == "NVIDIA" else "--device /dev/dri --device /dev/kfd"
        return UnusedDevice(card.name, "this container has not got it", f"docker run {passed} ...")
    packages = {"NVIDIA": "nvidia-driver"}
    package = packages.get(card.maker, "mesa-vulkan-drivers")
    return UnusedDevice(card.name, "it has no driver", f"sudo apt install {package}")
