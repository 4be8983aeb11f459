"""Summary of what computes on a machine, in one line for `serve`, `plan` and `doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.backends.state import INSTALLED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localrun.hardware.device import Device, Machine


def describe_computing(machine: Machine, chosen: Sequence[Device]) -> str:
    """Return the devices that compute, their backends, and the CPU's variant."""
    parts = [f"{device.label} ({device.description})" for device in chosen]
    if not parts:
        parts = [f"the processor ({machine.cpu.name})"]
    line = ", ".join(parts)
    details = [*_backends(machine, chosen), *_variant(machine)]
    return f"{line}; {'; '.join(details)}" if details else line


def _backends(machine: Machine, chosen: Sequence[Device]) -> Iterator[str]:
    used = dict.fromkeys(device.backend for device in chosen)
    for backend in used:
        states = [state for state in machine.backends if state.is_loaded]
        sources = [state.source for state in states if state.backend == backend.lower()]
        is_installed = INSTALLED in sources
        yield f"{'installed ' if is_installed else ''}backend {backend}"


def _variant(machine: Machine) -> Iterator[str]:
    if machine.cpu_variant:
        yield f"CPU variant {machine.cpu_variant}"
