"""Devices for load plans: the GPUs that the settings choose, and the processor, with free memory.

A machine without a GPU is not probed. Elsewhere a child process probes it for the first plan, and
again when free memory may have changed.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.hardware.cards import may_have_gpu
from localrun.hardware.cgroup import read_limits
from localrun.hardware.choice import AUTO, CPU, choose
from localrun.hardware.cpu import HostMemory, host_memory
from localrun.hardware.device import Device, DeviceKind
from localrun.hardware.probe import probe_machine
from localrun.hardware.reasons import why_gpus, why_processor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.hardware.device import Machine

FRESH_S = 5.0  # other programs take memory, too
_log = logging.getLogger(__name__)


class ChosenDevices:
    """The chosen GPUs in the runner's order, then the processor.

    Each GPU has the reason of the choice, or the processor if no GPU is used.
    """

    def __init__(
        self,
        text: str,
        environ: Mapping[str, str],
        *,
        most_bytes: int | None = None,
        probe: Callable[[Mapping[str, str]], Machine] = probe_machine,
        has_gpu: Callable[[Mapping[str, str]], bool] = may_have_gpu,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._text = text
        self._environ = dict(environ)
        self._most_bytes = most_bytes  # of the machine's own memory, for all models together
        self._probe = probe
        self._has_gpu = has_gpu
        self._clock = clock
        # Guards the three below, also during a probe; no other lock is taken under it.
        self._lock = threading.Lock()
        self._gpus: tuple[Device, ...] | None = None
        self._probed_at = 0.0
        self._no_gpu_reason = ""

    def __call__(self) -> list[Device]:
        """Return the devices with their free memory; may block for a probe, from any thread."""
        with self._lock:
            if self._gpus is None or (self._gpus and self._clock() - self._probed_at > FRESH_S):
                self._gpus = self._probe_gpus()
                self._probed_at = self._clock()
            processor = replace(_processor(self._most_bytes), reason=self._no_gpu_reason)
            return [*self._gpus, processor]

    def invalidate(self) -> None:
        """Let the next call probe again, because a model was loaded or unloaded."""
        with self._lock:
            self._probed_at = float("-inf")

    def _probe_gpus(self) -> tuple[Device, ...]:
        if self._text == CPU or (self._text == AUTO and not self._has_gpu(self._environ)):
            self._no_gpu_reason = why_processor(self._text, None)
            return ()
        machine = self._probe(self._environ)
        try:
            gpus = choose(machine.devices, self._text, self._environ)
        except UsageError as error:  # the device was there when the server started
            _log.warning("%s; only the processor is planned for", error.message)
            self._no_gpu_reason = error.message
            return ()
        self._no_gpu_reason = "" if gpus else why_processor(self._text, machine)
        reason = why_gpus(self._text, gpus, machine) if gpus else ""
        return tuple(replace(gpu, reason=reason) for gpu in gpus)


def only_processor() -> list[Device]:
    """Return the processor alone, with its free memory."""
    memory = _host_memory()
    return [
        Device(
            backend="CPU",
            index=0,
            name="CPU",
            description="CPU",
            kind=DeviceKind.CPU,
            total_bytes=memory.total_bytes,
            free_bytes=memory.available_bytes,
        )
    ]


def available_bytes() -> int:
    """Return the memory that a new process can take without swapping."""
    return _host_memory().available_bytes


def _host_memory() -> HostMemory:
    memory = host_memory()
    if memory is None:  # not Linux
        import psutil  # lazy: takes 4 MB

        found = psutil.virtual_memory()
        memory = HostMemory(total_bytes=int(found.total), available_bytes=int(found.available))
    return memory


def _processor(most_bytes: int | None) -> Device:
    """Return the processor with the memory that the container and the user allow."""
    limits = read_limits()
    (processor,) = only_processor()
    bounds = (limits.memory_bytes, most_bytes)
    total = min([processor.total_bytes, *(bound for bound in bounds if bound is not None)])
    left = limits.memory_free_bytes
    free = processor.free_bytes if left is None else min(processor.free_bytes, left)
    return replace(processor, total_bytes=total, free_bytes=min(free, total))
