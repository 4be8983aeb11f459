from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from localrun.engine.threads import usable_threads, useful_threads

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("quota", "most"), [("100000 100000", 1), ("max 100000", 10**6), ("?", 10**6)]
)
def test_a_container_quota_bounds_the_threads(tmp_path: Path, quota: str, most: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)

    assert 1 <= usable_threads(file) <= most


def test_a_small_model_gets_one_thread_and_a_large_one_all() -> None:
    assert useful_threads(6_000_000) == 1
    assert useful_threads(10**12) == usable_threads() <= (os.cpu_count() or 1)
