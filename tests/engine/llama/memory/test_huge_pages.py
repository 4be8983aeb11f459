"""Huge pages are requested for new large buffers, and for nothing else."""

from __future__ import annotations

import ctypes
import json
import mmap
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from localrun.engine.context import LlamaContext
from localrun.engine.llama import model as model_module
from localrun.engine.llama.library import start
from localrun.engine.llama.memory import huge_pages as module
from localrun.engine.llama.memory.huge_pages import MIN_BYTES, SETTING, HugePages, has_huge_pages
from localrun.engine.llama.model import load_model
from localrun.engine.params import LoadOptions
from localrun.engine.scheduler import SchedulerLimits

MIB = 1 << 20
LIMITS = SchedulerLimits(num_slots=4, num_cells=4096)
PRIVATE: dict[str, Any] = {}
if sys.platform == "linux":
    PRIVATE["flags"] = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
FIRST_LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) ", re.ASCII)
pytestmark = pytest.mark.skipif(not SETTING.exists(), reason="this kernel has no huge pages")


def advised() -> list[tuple[int, int]]:
    """Return the ranges of this process with the kernel's flag for requested huge pages."""
    ranges, found = [], (0, 0)
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if match := FIRST_LINE.match(line):
            found = (int(match[1], 16), int(match[2], 16))
        elif line.startswith("VmFlags:") and "hg" in line.split():
            ranges.append(found)
    return ranges


def is_advised(address: int) -> bool:
    return any(start <= address < end for start, end in advised())


def address_of(buffer: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def anonymous(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, **PRIVATE)


def test_a_new_large_buffer_is_advised_and_older_ones_are_not() -> None:
    old = anonymous(2 * MIN_BYTES)
    pages = HugePages()
    new = anonymous(2 * MIN_BYTES)  # the kernel joins it with the old one

    num_bytes = pages.request()

    assert num_bytes >= len(new)
    assert is_advised(address_of(new))
    assert is_advised(address_of(new) + len(new) - 1)
    assert not is_advised(address_of(old))
    assert not is_advised(address_of(old) + len(old) - 1)


def test_a_small_buffer_keeps_its_pages() -> None:
    pages = HugePages()
    small = anonymous(MIN_BYTES // 2)

    pages.request()

    assert not is_advised(address_of(small))


def test_only_the_first_request_counts() -> None:
    pages = HugePages()
    pages.request()
    late = anonymous(2 * MIN_BYTES)

    assert pages.request() == 0
    assert not is_advised(address_of(late))


def test_without_the_list_of_mappings_nothing_is_advised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "MAPS", tmp_path / "missing")
    pages = HugePages()
    new = anonymous(2 * MIN_BYTES)

    assert pages.request() == 0
    assert not is_advised(address_of(new))


def test_weights_are_advised_and_the_cells_of_a_context_are_not(guide_path: Path) -> None:
    # in another process, because memory that tests have freed is used again, and is not new
    script = f"{__name__}.measure_child({str(guide_path)!r})"
    child = subprocess.run(
        [sys.executable, "-c", f"import {__name__}; {script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    before, loaded, with_context, num_huge = json.loads(child.stdout)

    assert before == 0
    assert loaded > 4 * MIB
    assert with_context == loaded
    assert num_huge > 0 or not has_huge_pages()


def huge_bytes() -> int:
    """Return the memory of this process that is in huge pages."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("AnonHuge"))


def measure_child(path: str) -> None:
    """Print the advised bytes before and after a load, and with a context."""
    module.MIN_BYTES = 4 * MIB
    # the stack of its thread is new memory too
    pytest.MonkeyPatch().setattr(model_module, "start_read_ahead", lambda _: None)
    sizes = [sum(end - start for start, end in advised())]
    model = load_model(
        [Path(path)],
        native_log=start(),
        num_gpu_layers=0,
        options=LoadOptions(use_mmap=False),  # of guide too little is repacked
        on_progress=lambda _: None,
    )
    sizes.append(sum(end - start for start, end in advised()))
    LlamaContext(model, LIMITS, num_threads=1)
    sizes.append(sum(end - start for start, end in advised()))
    print(json.dumps([*sizes, huge_bytes()]))  # noqa: T201 - for the test


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("[always] madvise never\n", True),
        ("always [madvise] never\n", True),
        ("always madvise [never]\n", False),
        (None, True),
    ],
)
def test_a_kernel_that_is_set_to_never_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str | None, *, expected: bool
) -> None:
    file = tmp_path / "enabled"
    if setting is not None:
        file.write_text(setting)
    monkeypatch.setattr(module, "SETTING", file)

    assert has_huge_pages() is expected
