"""The devices that models are planned for: those chosen of the probe's, with free memory.

On a machine without any GPU nothing is asked; elsewhere a child process is, when the first
model is planned, and again when memory may have changed.
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
from localrun.hardware.probe import probe_machine
from localrun.hardware.reasons import why_gpus, why_processor
from localrun.supervisor.planning import only_processor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.hardware.device import Device, Machine

FRESH_S = 5.0  # other programs take memory too
_log = logging.getLogger(__name__)


class ChosenDevices:
    """The GPUs of a choice in the order that a runner has them, then the processor.

    Each tells why it is used; the processor only where no GPU is.
    Calling it may block for the time of a probe. Safe from any thread.
    """

    def __init__(
        self,
        text: str,
        environ: Mapping[str, str],
        *,
        most_bytes: int | None = None,
        probe: Callable[[Mapping[str, str]], Machine] = probe_machine,
        has_gpu: Callable[[], bool] = may_have_gpu,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._text = text
        self._environ = dict(environ)
        self._most_bytes = most_bytes  # of the machine's own memory, for all models together
        self._probe = probe
        self._has_gpu = has_gpu
        self._clock = clock
        self._lock = threading.Lock()
        self._gpus: tuple[Device, ...] | None = None
        self._asked_at = 0.0
        self._no_gpu = ""  # why there is none

    def __call__(self) -> list[Device]:
        """Return the devices, with the memory that is free now."""
        with self._lock:
            if self._gpus is None or (self._gpus and self._clock() - self._asked_at > FRESH_S):
                self._gpus = self._ask()
                self._asked_at = self._clock()
            return [*self._gpus, replace(_processor(self._most_bytes), reason=self._no_gpu)]

    def forget(self) -> None:
        """Ask again before the next plan: a model came or went."""
        with self._lock:
            self._asked_at = float("-inf")

    def _ask(self) -> tuple[Device, ...]:
        if self._text == CPU or (self._text == AUTO and not self._has_gpu()):
            self._no_gpu = why_processor(self._text, None)
            return ()
        machine = self._probe(self._environ)
        try:
            found = choose(machine.devices, self._text, self._environ)
        except UsageError as error:  # it was there when the server started
            _log.warning("%s; only the processor is planned for", error.message)
            self._no_gpu = error.message
            return ()
        self._no_gpu = "" if found else why_processor(self._text, machine)
        reason = why_gpus(self._text, found, machine) if found else ""
        return tuple(replace(device, reason=reason) for device in found)


def _processor(most_bytes: int | None) -> Device:
    """Return the processor; of its memory, what the container and the user allow."""
    limits = read_limits()
    (found,) = only_processor()
    bounds = (limits.memory_bytes, most_bytes)
    total = min([found.total_bytes, *(bound for bound in bounds if bound is not None)])
    left = limits.memory_free_bytes
    free = found.free_bytes if left is None else min(found.free_bytes, left)
    return replace(found, total_bytes=total, free_bytes=min(free, total))
