"""Memory of the machine: by device, and by the models that are loaded there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.supervisor.devices import only_processor

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.supervisor.pool import RunnerPool

PROCESSOR = "CPU"


def describe_machine(pool: RunnerPool) -> JsonObject:
    """Return the devices that models use, with their memory in bytes; blocks.

    The free memory of a GPU is that of the last plan.
    """
    (processor,) = only_processor()
    states = pool.states()
    found = {PROCESSOR: processor}
    for model in states:
        for share in model.planned.plan.shares if model.planned and model.planned.plan else ():
            if share.device.is_gpu:
                found[share.device.name] = share.device
    return {
        "devices": [
            {
                "device": name,
                "description": device.description,
                "total_bytes": device.total_bytes,
                "free_bytes": device.free_bytes,
                "models": {
                    model.name: dict(model.memory)[name]
                    for model in states
                    if name in dict(model.memory) and model.shared_with is None
                },
            }
            for name, device in found.items()
        ]
    }
