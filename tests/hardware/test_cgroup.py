from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.hardware.cgroup import CgroupLimits, read_limits

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30


def machine(root: Path, membership: str, files: dict[str, str]) -> CgroupLimits:
    (root / "cgroup").write_text(membership)
    for name, text in files.items():
        file = root / "sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return read_limits(root / "sys", root / "cgroup")


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("100000 100000", 1), ("250000 100000", 2), ("20000 100000", 1), ("max 100000", None)],
)
def test_a_quota_of_version_2_is_whole_cores(tmp_path: Path, quota: str, cores: int) -> None:
    assert machine(tmp_path, "0::/\n", {"cpu.max": quota}).num_cores == cores


def test_the_tightest_of_the_groups_above_holds(tmp_path: Path) -> None:
    found = machine(
        tmp_path,
        "0::/user.slice/a.scope\n",
        {
            "user.slice/cpu.max": "200000 100000",
            "user.slice/memory.max": str(4 * GIB),
            "user.slice/memory.current": str(3 * GIB),
            "user.slice/memory.stat": f"anon 1\ninactive_file {GIB}\n",
            "user.slice/a.scope/cpu.max": "max 100000",
            "user.slice/a.scope/memory.max": str(8 * GIB),
            "user.slice/a.scope/memory.current": "0",
        },
    )

    assert found == CgroupLimits(num_cores=2, memory_bytes=4 * GIB, memory_free_bytes=2 * GIB)


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    found = machine(
        tmp_path,
        "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n2:devices:/docker/1\n",
        {
            "cpu,cpuacct/docker/1/cpu.cfs_quota_us": "150000\n",
            "cpu,cpuacct/docker/1/cpu.cfs_period_us": "50000\n",
            "memory/memory.limit_in_bytes": str(2 * GIB),  # the path is the host's
            "memory/memory.usage_in_bytes": str(GIB),
        },
    )

    assert found == CgroupLimits(num_cores=3, memory_bytes=2 * GIB, memory_free_bytes=GIB)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"cpu.max": "?", "memory.max": "max"},
        {"memory/memory.limit_in_bytes": "9223372036854771712"},
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        {"cpu.max": "0 0"},
    ],
)
def test_without_a_limit_there_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    assert machine(tmp_path, "1:cpu:/\n0::/../..\nnonsense\n", files) == CgroupLimits()
