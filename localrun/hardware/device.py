"""Devices of the machine: plain values for the device choice, load plans and `doctor`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.backends.manifest import EngineBuild
    from localrun.backends.state import BackendState


class DeviceKind(StrEnum):
    """The type of a device, by llama.cpp's names."""

    CPU = "cpu"
    GPU = "gpu"  # with memory of its own
    IGPU = "igpu"  # shares the machine's memory
    ACCEL = "accel"  # helps the processor: BLAS, AMX


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that this build of llama.cpp can use."""

    backend: str  # "CUDA", "ROCm", "Metal", "Vulkan", "SYCL", "CPU", ...
    index: int  # among the devices of its backend
    name: str  # llama.cpp's own, such as "CUDA0"
    description: str
    kind: DeviceKind
    total_bytes: int
    free_bytes: int
    unit_id: str | None = None  # PCI address, equal for a card that two backends list
    driver: str | None = None  # its version
    worker: str = ""  # name of the worker that has it; empty = this machine
    is_processor: bool = False  # of a worker: no card, and its memory is the other machine's
    reason: str = field(default="", compare=False)  # of the choice, if it was chosen

    @property
    def label(self) -> str:
        """Return the name of the device for `LOCALRUN_DEVICE`."""
        return f"{self.backend.lower()}:{self.index}"

    @property
    def is_gpu(self) -> bool:
        """Return whether layers can be put on it."""
        return self.kind in {DeviceKind.GPU, DeviceKind.IGPU}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """The processor and the memory that this process may use."""

    name: str
    num_logical: int
    num_physical: int
    num_usable: int  # by the affinity mask and the quota of the cgroup
    num_performance: int | None  # logical cores; None if all are equal, or unknown
    num_efficiency: int | None
    instruction_sets: tuple[str, ...]
    total_bytes: int
    available_bytes: int  # without swapping, and within the cgroup
    memory_limit_bytes: int | None  # of the cgroup


@dataclass(frozen=True, slots=True)
class UnusedDevice:
    """A device of the machine that llama.cpp cannot use."""

    what: str
    reason: str
    fix: str  # a command to type


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The result of a probe."""

    devices: tuple[Device, ...]  # those of llama.cpp, including the processor
    cpu: Cpu
    unused: tuple[UnusedDevice, ...] = ()
    missing: tuple[UnusedDevice, ...] = ()  # backends that would be faster on a card that is used
    failure: str | None = None  # why the probe failed; the CPU is the only device then
    backends: tuple[BackendState, ...] = ()  # those for GPUs that llama.cpp has, loaded or not
    engine: EngineBuild | None = None
    cpu_variant: str | None = None  # for which processors the CPU's backend is compiled
