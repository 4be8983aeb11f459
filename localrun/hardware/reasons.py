"""Reasons for the choice of devices, as `localrun why` reports them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.backends.state import INSTALLED
from localrun.errors import UsageError
from localrun.hardware.choice import AUTO, CPU, GPU
from localrun.hardware.device import DeviceKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localrun.hardware.device import Device, Machine


def why_processor(text: str, machine: Machine | None) -> str:
    """Return why no GPU is used; ``machine`` is None if it was not probed."""
    if text == CPU:
        return "the processor alone was asked for"
    if machine is None:
        return "this machine has no GPU"
    if machine.failure:
        return machine.failure
    if idle := idle_reasons(machine):
        return "; ".join(idle)
    hidden = [device.label for device in machine.devices if device.is_gpu]
    if hidden:
        return f"the environment hides {', '.join(hidden)}"
    return "llama.cpp finds no GPU"


def absent_device(error: UsageError, machine: Machine) -> UsageError:
    """Return the error for a device that the machine lacks, with what would bring it."""
    reasons = [machine.failure] if machine.failure else []
    parts = [*([error.hint] if error.hint else []), *reasons, *idle_reasons(machine)]
    return UsageError(error.message, hint="; ".join(parts))


def idle_reasons(machine: Machine) -> list[str]:
    """Return why cards are not used, and why installed backends have no device, with commands."""
    reasons = [f"{card.what}: {card.reason}: {card.fix}" for card in machine.unused]
    for state in machine.backends:
        is_told = any(state.reason in reason for reason in reasons)
        if state.source == INSTALLED and state.reason and not is_told:
            reasons.append(": ".join(filter(None, (state.backend, state.reason, state.fix))))
    return reasons


def why_gpus(text: str, chosen: Sequence[Device], machine: Machine) -> str:
    """Return why these GPUs, at least one, were chosen."""
    if text not in {AUTO, GPU}:
        return f"{text} was asked for"
    is_integrated = chosen[0].kind is DeviceKind.IGPU
    kind = "integrated, as there is no other" if is_integrated else "discrete"
    num_gpus = len(chosen)
    gpus = "the only GPU that counts" if num_gpus == 1 else f"all {num_gpus} GPUs that count"
    return "; ".join([f"{gpus}: {kind}", *_left_out(chosen, machine)])


def _left_out(chosen: Sequence[Device], machine: Machine) -> Iterator[str]:
    units = {device.unit_id for device in chosen if device.unit_id is not None}
    names = {device.name for device in chosen}
    for device in machine.devices:
        if not device.is_gpu or device.name in names:
            continue
        if device.unit_id in units:
            yield f"{device.label} is the same card"
        elif device.kind is DeviceKind.IGPU and chosen[0].kind is not DeviceKind.IGPU:
            yield f"{device.label} is integrated"
        else:
            yield f"{device.label} is left out"
