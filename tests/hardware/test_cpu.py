from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from localrun.hardware.cgroup import CgroupLimits
from localrun.hardware.cpu import HostMemory, cpu_list, host_memory, read_cpu, usable_threads

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("quota", "most"), [(1, 1), (10**6, os.cpu_count()), (None, os.cpu_count())]
)
def test_a_container_quota_bounds_the_threads(quota: int | None, most: int) -> None:
    assert 1 <= usable_threads(CgroupLimits(num_cores=quota)) <= most


def test_threads_of_one_core_count_once(tmp_path: Path) -> None:
    numbers = range(os.cpu_count() or 1)
    write(tmp_path, {f"cpu{i}/topology/thread_siblings_list": "0-63\n" for i in numbers})

    assert usable_threads(CgroupLimits(), tmp_path) == 1


def test_a_hybrid_processor_has_fast_and_thrifty_cores(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "types/cpu_core/cpus": "0-3\n",
            "types/cpu_atom/cpus": "4-11\n",
            **{f"cpu/cpu{i}/topology/thread_siblings_list": f"{i // 2 * 2}-{i // 2 * 2 + 1}\n"
               for i in range(4)},
            **{f"cpu/cpu{i}/topology/thread_siblings_list": f"{i}\n" for i in range(4, 12)},
            "cpuinfo": "processor: 0\nmodel name\t: Fast One\nflags\t\t: fpu avx2 fma pni\n\n"
                       "processor: 1\nmodel name\t: Slow One\n",
            "meminfo": "MemTotal:  2048 kB\nMemFree: 1 kB\nMemAvailable:  1024 kB\n",
        },
    )  # fmt: skip

    found = read_cpu(
        tmp_path / "cpu", tmp_path / "cpuinfo", tmp_path / "meminfo", tmp_path / "types"
    )

    assert (found.name, found.instruction_sets) == ("Fast One", ("avx2", "fma"))
    assert (found.num_performance, found.num_efficiency, found.num_physical) == (4, 8, 10)
    assert found.total_bytes == 2 * 1024**2
    assert found.available_bytes <= 1024**2


def test_arm_tells_its_kinds_by_capacity(tmp_path: Path) -> None:
    write(tmp_path, {f"cpu{i}/cpu_capacity": f"{1024 if i < 2 else 400}\n" for i in range(6)})

    found = read_cpu(tmp_path, tmp_path / "none", tmp_path / "none", tmp_path / "none")

    assert (found.num_performance, found.num_efficiency) == (2, 4)


def test_this_machine_has_a_processor() -> None:
    found = read_cpu()

    assert 1 <= found.num_usable <= found.num_logical
    assert 1 <= found.num_physical <= found.num_logical
    assert 0 < found.available_bytes <= found.total_bytes


@pytest.mark.parametrize(
    ("text", "expected"), [("0-3,8\n", {0, 1, 2, 3, 8}), ("", set()), ("5", {5}), ("x-2,3-", {3})]
)
def test_the_kernels_lists_of_processors(text: str, expected: set[int]) -> None:
    assert cpu_list(text) == expected


def test_a_system_that_does_not_list_its_memory_has_none(tmp_path: Path) -> None:
    listed, other = tmp_path / "meminfo", tmp_path / "other"
    listed.write_text("MemTotal: 8 kB\nMemAvailable: 3 kB\nHugePages_Total: 0\n")
    other.write_text("Mem: 8\n")

    assert host_memory(listed) == HostMemory(total_bytes=8192, available_bytes=3072)
    assert host_memory(other) is None
    assert host_memory(tmp_path / "missing") is None
