"""What the machine has and llama.cpp does not use, why, and the command that changes it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.hardware.choice import VISIBLE
from localrun.hardware.device import UnusedDevice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localrun.hardware.device import Device
    from localrun.hardware.report import Card, ProbeReport

PACKAGE = "llama-cpp-python"
OWN_BACKEND = {"NVIDIA": "CUDA", "AMD": "ROCm", "Apple": "Metal", "Intel": "Vulkan"}
GENERAL_BACKEND = "Vulkan"
SWITCHES = {"CUDA": "GGML_CUDA", "ROCm": "GGML_HIP", "Metal": "GGML_METAL", "Vulkan": "GGML_VULKAN"}
MODULES = {"CUDA": "cuda", "ROCm": "hip", "Metal": "metal", "Vulkan": "vulkan"}
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
RUNTIME = re.compile(r"lib(?:cudart|cublas|cublasLt)\.so\.(\d+)")
PINNED_RUNTIMES = 12  # until then the names of NVIDIA's packages end in the version


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the commands depend on."""

    python: str = "python3"
    version: str | None = None  # of llama-cpp-python
    has_pip: bool = True
    is_container: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_this_process(cls, environ: Mapping[str, str]) -> Surroundings:
        """Return those of this program's own installation."""
        from importlib.metadata import PackageNotFoundError, version
        from importlib.util import find_spec

        try:
            installed: str | None = version(PACKAGE)
        except PackageNotFoundError:
            installed = None
        return cls(
            python=sys.executable,
            version=installed,
            has_pip=find_spec("pip") is not None,
            is_container=any(mark.exists() for mark in CONTAINER_MARKS),
            variables=environ,
        )


def find_unused(
    devices: Sequence[Device], report: ProbeReport, around: Surroundings
) -> tuple[UnusedDevice, ...]:
    """Return the cards that no device of llama.cpp stands for, each once."""
    gpus = [device for device in devices if device.is_gpu]
    return tuple(
        _explained(card, gpus, report, around)
        for card in _merged(report.cards)
        if not any(_is_same(card, device) for device in gpus)
    )


def rebuild_command(backend: str, around: Surroundings) -> str:
    """Return the command that compiles llama-cpp-python with a backend."""
    pinned = f"{PACKAGE}=={around.version}" if around.version else PACKAGE
    switch = f'CMAKE_ARGS="-D{SWITCHES[backend]}=on"'
    if around.has_pip:
        options = f"--force-reinstall --no-deps --no-cache-dir --no-binary {PACKAGE}"
        return f"{switch} {around.python} -m pip install {options} {pinned}"
    options = f"--reinstall-package {PACKAGE} --no-deps --no-cache --no-binary-package {PACKAGE}"
    return f"{switch} uv pip install --python {around.python} {options} {pinned}"


def runtime_command(reason: str, backend: str, around: Surroundings) -> str:
    """Return the command that brings what the linker misses, told in ``reason``."""
    missing = RUNTIME.search(reason)
    if missing is None:
        if "libcuda.so" in reason:
            return (
                "docker run --gpus all ..."
                if around.is_container
                else ("sudo apt install nvidia-driver")
            )
        return rebuild_command(backend, around)
    major = int(missing[1])
    names = ("nvidia-cuda-runtime", "nvidia-cublas")
    suffix = f"-cu{major}" if major <= PINNED_RUNTIMES else f"=={major}.*"
    wanted = " ".join(f'"{name}{suffix}"' for name in names)
    if around.has_pip:
        return f"{around.python} -m pip install {wanted}"
    return f"uv pip install --python {around.python} {wanted}"


def _merged(cards: Sequence[Card]) -> list[Card]:
    """Return each card once: those who know its name before those who know its place.

    Vulkan tells no address: what it shows is another card only if nobody else knows one of
    that maker.
    """
    merged: list[Card] = []
    order = ("nvml", "nvidia-smi", "kfd", "platform", "pci", "vulkan")
    for card in sorted(
        cards, key=lambda one: order.index(one.source) if one.source in order else 9
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
    card: Card, gpus: Sequence[Device], report: ProbeReport, around: Surroundings
) -> UnusedDevice:
    backend = OWN_BACKEND.get(card.maker, GENERAL_BACKEND)
    hidden = [name for name in VISIBLE.get(card.maker.lower(), ()) if name in around.variables]
    is_built = any(device.backend == backend for device in gpus)
    if hidden:
        reason = f"{hidden[0]}={around.variables[hidden[0]]} hides it"
        return UnusedDevice(card.name, reason, f"unset {hidden[0]}")
    unloaded = report.unloaded.get(MODULES[backend])
    if unloaded is not None:
        reason = f"llama.cpp's {backend} backend does not load: {unloaded}"
        return UnusedDevice(card.name, reason, runtime_command(unloaded, backend, around))
    if not _is_driven(card, report.cards):
        return _without_driver(card, around)
    if is_built:
        reason = f"llama.cpp's {backend} backend does not list it"
        by = backend if card.maker == "NVIDIA" else GENERAL_BACKEND  # compiled for other cards
        return UnusedDevice(card.name, reason, rebuild_command(by, around))
    reason = f"this build of llama.cpp has no {backend}"
    return UnusedDevice(card.name, reason, rebuild_command(backend, around))


def _is_driven(card: Card, cards: Sequence[Card]) -> bool:
    """Return whether a driver that can compute has the card.

    A card of NVIDIA on the bus is not: NVIDIA's own library would have named it.
    """
    if card.source != "pci":
        return True
    by_vulkan = any(other.source == "vulkan" and other.maker == card.maker for other in cards)
    return by_vulkan or (card.has_driver and card.maker != "NVIDIA")


def _without_driver(card: Card, around: Surroundings) -> UnusedDevice:
    if around.is_container:
        passed = "--gpus all" if card.maker == "NVIDIA" else "--device /dev/dri --device /dev/kfd"
        return UnusedDevice(card.name, "this container has not got it", f"docker run {passed} ...")
    packages = {"NVIDIA": "nvidia-driver"}
    package = packages.get(card.maker, "mesa-vulkan-drivers")
    return UnusedDevice(card.name, "it has no driver", f"sudo apt install {package}")
