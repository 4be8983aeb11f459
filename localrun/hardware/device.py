"""What computes on this machine: plain values, for the choice, the plan and `doctor`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class DeviceKind(StrEnum):
    """What a device is, in llama.cpp's words."""

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
    unit_id: str | None = None  # PCI address, by which a card seen by two backends is recognised
    driver: str | None = None  # its version
    reason: str = field(default="", compare=False)  # why it is used, where somebody chose it

    @property
    def label(self) -> str:
        """Return what `LOCALRUN_DEVICE` calls it."""
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
    num_performance: int | None  # of the logical ones; None where all are alike, or it is not known
    num_efficiency: int | None
    instruction_sets: tuple[str, ...]
    total_bytes: int
    available_bytes: int  # without swapping, and within the cgroup
    memory_limit_bytes: int | None  # of the cgroup


@dataclass(frozen=True, slots=True)
class UnusedDevice:
    """Something that the machine has and llama.cpp cannot use."""

    what: str
    reason: str
    fix: str  # a command to type


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """All that was found out about this machine."""

    devices: tuple[Device, ...]  # those of llama.cpp, also the processor's
    cpu: Cpu
    unused: tuple[UnusedDevice, ...] = ()
    failure: str | None = None  # why the devices could not be asked; there is only the CPU then
