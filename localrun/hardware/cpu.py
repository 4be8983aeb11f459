"""Processor of the machine: usable cores, instruction sets and memory.

Linux reports all of it in files; on other systems values that are expensive to get are left out.
"""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from localrun.hardware.cgroup import CgroupLimits, read_limits
from localrun.hardware.device import Cpu
from localrun.system.processors import usable_processors

SYSTEM = Path("/sys/devices/system/cpu")
CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
TYPES = Path("/sys/devices")  # cpu_core and cpu_atom list the core types of Intel's hybrids
SYSCTL_TIMEOUT_S = 2
# the sets with kernels in llama.cpp, named as in /proc/cpuinfo
KNOWN_SETS = (
    "ssse3", "avx", "avx2", "avx_vnni", "fma", "f16c", "bmi2", "avx512f", "avx512bw",
    "avx512vbmi", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimddp", "i8mm", "sve", "sve2", "sme", "vsx",
)  # fmt: skip


def usable_threads(limits: CgroupLimits | None = None, system: Path = SYSTEM) -> int:
    """Return the number of cores that this process may use, at least 1.

    Counts the cores of the affinity mask up to the container's quota: further threads, also those
    that share a core, only wait for each other.
    """
    quota = (limits or read_limits()).num_cores
    cores = _num_cores(usable_processors(), system)
    return max(1, min(cores, quota) if quota else cores)


def read_cpu(
    system: Path = SYSTEM, cpuinfo: Path = CPUINFO, meminfo: Path = MEMINFO, types: Path = TYPES
) -> Cpu:
    """Return the processor and its memory."""
    limits = read_limits()
    info = _cpuinfo(cpuinfo)
    memory = _memory(meminfo)
    available = memory.available_bytes
    performance, efficiency = _kinds(types, system)
    free = limits.memory_free_bytes
    return Cpu(
        name=info.get("model name") or _sysctl("machdep.cpu.brand_string") or platform.processor(),
        num_logical=os.cpu_count() or 1,
        num_physical=_num_physical(system),
        num_usable=usable_threads(limits, system),
        num_performance=performance,
        num_efficiency=efficiency,
        instruction_sets=_instruction_sets(info),
        total_bytes=memory.total_bytes,
        available_bytes=available if free is None else min(available, free),
        memory_limit_bytes=limits.memory_bytes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """Memory of the machine."""

    total_bytes: int
    available_bytes: int  # without swapping


def host_memory(meminfo: Path = MEMINFO) -> HostMemory | None:
    """Return the memory of the machine, or None if the system does not list it in this file."""
    sizes = {}
    for line in _text(meminfo).splitlines():
        name, _, rest = line.partition(":")
        pieces = rest.split()
        if pieces and pieces[0].isdigit():
            sizes[name] = int(pieces[0]) * 1024
    total = sizes.get("MemTotal")
    if total is None:
        return None
    return HostMemory(total_bytes=total, available_bytes=sizes.get("MemAvailable", total))


def free_host_bytes(meminfo: Path = MEMINFO) -> int:
    """Return the memory that this process can take without swapping, within its container."""
    available = _memory(meminfo).available_bytes
    limit = read_limits().memory_free_bytes
    return available if limit is None else min(available, limit)


def cpu_list(text: str) -> frozenset[int]:
    """Parse a list of the kernel, such as ``0-3,8``."""
    numbers: set[int] = set()
    for piece in text.strip().split(","):
        first, _, last = piece.partition("-")
        if first.isdigit() and (last or first).isdigit():
            numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def _num_cores(processors: frozenset[int], system: Path) -> int:
    """Return the number of cores of logical processors; one without siblings is a core."""
    siblings = (system / f"cpu{number}/topology/thread_siblings_list" for number in processors)
    return len({_text(file).strip() or str(file) for file in siblings})


def _num_physical(system: Path) -> int:
    """Return the number of physical cores."""
    siblings = {
        text
        for file in system.glob("cpu[0-9]*/topology/thread_siblings_list")
        if (text := _text(file).strip())
    }
    return len(siblings) or int(_sysctl("hw.physicalcpu") or 0) or os.cpu_count() or 1


def _kinds(types: Path, system: Path) -> tuple[int | None, int | None]:
    """Return the numbers of logical performance and efficiency cores."""
    fast = len(cpu_list(_text(types / "cpu_core" / "cpus")))
    slow = len(cpu_list(_text(types / "cpu_atom" / "cpus")))
    if fast and slow:
        return fast, slow
    capacities = [  # ARM: the largest core has 1024
        int(text)
        for file in system.glob("cpu[0-9]*/cpu_capacity")
        if (text := _text(file).strip()).isdigit()
    ]
    if len(set(capacities)) > 1:
        fast = sum(capacity > max(capacities) // 2 for capacity in capacities)
        return fast, len(capacities) - fast
    fast, slow = (int(_sysctl(f"hw.perflevel{level}.logicalcpu") or 0) for level in (0, 1))
    return (fast, slow) if fast and slow else (None, None)


def _instruction_sets(info: dict[str, str]) -> tuple[str, ...]:
    words = set((info.get("flags") or info.get("Features") or info.get("isa") or "").split())
    return tuple(name for name in KNOWN_SETS if name in words)


def _cpuinfo(file: Path) -> dict[str, str]:
    """Return the fields of the first processor."""
    first = _text(file).split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _memory(meminfo: Path) -> HostMemory:
    """Return the memory of the machine, all of it as available if the system does not say."""
    total = int(_sysctl("hw.memsize") or 0)
    return host_memory(meminfo) or HostMemory(total_bytes=total, available_bytes=total)


def _sysctl(name: str) -> str:
    """Return a value of macOS, or "" on other systems."""
    if platform.system() != "Darwin":
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - a program of the system
            ["/usr/sbin/sysctl", "-n", name],
            check=False,
            capture_output=True,
            text=True,
            timeout=SYSCTL_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
