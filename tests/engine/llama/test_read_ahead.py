"""Weights are read into the page cache while llama.cpp parses the vocabulary."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

import pytest

from localrun.engine.llama import read_ahead as module
from localrun.engine.llama.library import start
from localrun.engine.llama.model import load_model
from localrun.engine.llama.read_ahead import STEP_BYTES, read_ahead, start_read_ahead

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return the ranges that are requested, as (offset, size)."""
    ranges: list[tuple[int, int]] = []

    monkeypatch.setattr(module, "read_soon", lambda _, *part: ranges.append(part))
    return ranges


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_every_part_of_every_file_is_requested_in_order(
    tmp_path: Path, requests: list[tuple[int, int]]
) -> None:
    shards = [sparse(tmp_path / "1", 2 * STEP_BYTES + 5), sparse(tmp_path / "2", 7)]

    num_bytes = read_ahead(shards)

    assert num_bytes == 2 * STEP_BYTES + 12
    assert [offset for offset, _ in requests] == [0, STEP_BYTES, 2 * STEP_BYTES, 0]


def test_a_large_model_is_requested_up_to_the_bound(
    tmp_path: Path, requests: list[tuple[int, int]]
) -> None:
    shards = [sparse(tmp_path / str(number), 6 * MIB) for number in range(3)]

    num_bytes = read_ahead(shards, max_bytes=8 * MIB)

    assert num_bytes == 8 * MIB
    assert sum(size for _, size in requests) == 8 * MIB


def test_a_file_that_is_gone_is_left_to_llama_cpp(tmp_path: Path) -> None:
    assert read_ahead([tmp_path / "gone.gguf"]) == 0


def test_a_load_begins_to_read_ahead(guide_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_read = threading.Event()

    def noted(paths: list[Path]) -> int:
        assert paths == [guide_path]
        has_read.set()
        return 0

    monkeypatch.setattr(module, "read_ahead", noted)
    model = load_model(
        [guide_path], native_log=start(), num_gpu_layers=0, on_progress=lambda _: None
    )

    assert has_read.wait(60)
    model.close()


def test_a_system_without_the_call_reads_nothing_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(threading, "Thread", None)

    start_read_ahead([tmp_path])
