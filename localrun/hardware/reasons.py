"""Reasons for the choice of devices, as `localrun why` reports them."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    if machine.unused:
        return "; ".join(
            f"{unused.what}: {unused.reason}: {unused.fix}" for unused in machine.unused
        )
    hidden = [device.label for device in machine.devices if device.is_gpu]
    if hidden:
        return f"the environment hides {', '.join(hidden)}"
    return "llama.cpp finds no GPU"


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
