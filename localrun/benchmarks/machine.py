"""Facts of the machine that figures depend on, and reasons to doubt what is measured now."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from localrun.system.processors import usable_processors

CPU_INFO = Path("/proc/cpuinfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
POWER = Path("/sys/class/power_supply")
BUSY_SHARE = 0.25  # of the processors, by the load of the last minute
MAX_READ = 64 * 1024
SOURCE = Path(__file__).resolve().parents[2]
REF = "ref: "  # of .git/HEAD, before the name of a branch
COMMIT = re.compile(r"[0-9a-f]{40}")


def machine_facts() -> dict[str, str | int]:
    """Return what identifies this machine in a report."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "threads": len(usable_processors()),
    }


def source_commit(folder: Path = SOURCE) -> str | None:
    """Return the commit of the checkout that this program runs from, None if there is none."""
    head = _text(folder / ".git" / "HEAD")
    commit = _text(folder / ".git" / head.removeprefix(REF)) if head.startswith(REF) else head
    return commit if COMMIT.fullmatch(commit) else None


def doubts() -> list[str]:
    """Return what makes measurements on this machine uncertain now."""
    found = []
    if hasattr(os, "getloadavg"):
        load, num = os.getloadavg()[0], len(usable_processors())
        if load > BUSY_SHARE * num:
            found.append(f"other programs use the processors: the load is {load:.1f} of {num}")
    governor = _text(GOVERNOR)
    if governor and governor != "performance":
        found.append(f"the frequency governor is {governor}, not performance")
    if any(_text(path / "status") == "Discharging" for path in _supplies()):
        found.append("the machine runs on its battery")
    return found


def _processor() -> str:
    for line in _text(CPU_INFO).splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model"}:
            return value.strip()
    return platform.processor() or platform.machine()


def _supplies() -> list[Path]:
    try:
        return sorted(POWER.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_READ).strip()
    except OSError:
        return ""
