"""NVIDIA's cards that a CUDA backend has no code for: cards older than all that it is compiled for.

llama.cpp lists them among its devices and aborts at the first computation. The backend states what
it is compiled for, ``750,800,860``, and the driver states what a card is, 6.1.
"""

from __future__ import annotations

import ctypes
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.engine.llama import ggml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.backends.state import BackendState
    from localrun.hardware.device import Device

CUDA = "CUDA"
COMPILED_FOR = "ARCHS"  # a feature of the backend
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
DRIVERS = {"win32": "nvcuda.dll"}


def cards_without_code(devices: Sequence[Device]) -> dict[str, str]:
    """Return the names of devices that the CUDA backend has no code for, with the reason."""
    cards = [device for device in devices if device.backend == CUDA]
    compiled = re.findall(r"\d+", ggml.features(CUDA).get(COMPILED_FOR, "")) if cards else []
    if not compiled:
        return {}
    oldest = min(map(int, compiled)) // 10
    capabilities = {card.name: _capability(card.index) for card in cards}
    return {
        card.name: f"it is compiled for cards of compute capability {_dotted(oldest)} and later, "
        f"and {card.description} has {_dotted(capability)}"
        for card in cards
        if (capability := capabilities[card.name]) is not None and capability < oldest
    }


def with_reason(states: Sequence[BackendState], reason: str) -> list[BackendState]:
    """Return the states, with the reason why CUDA, which is loaded, has no device."""
    return [
        replace(state, reason=reason)
        if state.backend == CUDA.lower() and state.is_loaded
        else state
        for state in states
    ]


def _capability(index: int) -> int | None:
    """Return a card's compute capability, 75 for 7.5, or None if the driver does not state it."""
    card, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    try:
        driver = ctypes.CDLL(DRIVERS.get(sys.platform, "libcuda.so.1"))
        codes = (
            driver.cuDeviceGet(ctypes.byref(card), index),
            driver.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, card),
            driver.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, card),
        )
    except (OSError, AttributeError):
        return None
    return None if any(codes) else major.value * 10 + minor.value


def _dotted(capability: int) -> str:
    return f"{capability // 10}.{capability % 10}"
