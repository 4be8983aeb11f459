"""Copies of a part of a file, with and without blocks that both files share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.system import files
from localrun.system.files import SHARED_BLOCK_BYTES, copy_range

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 40_000


def copied(tmp_path: Path, start: int, target_start: int, num_bytes: int) -> tuple[bytes, bytes]:
    """Return the bytes that were to be copied, and those that were."""
    content = bytes(number * number % 251 for number in range(SIZE))
    (tmp_path / "source").write_bytes(content)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb") as target:
        counts = copy_range(source.fileno(), start, target.fileno(), target_start, num_bytes)
        assert sum(counts) == num_bytes
    made = (tmp_path / "target").read_bytes()
    return content[start : start + num_bytes], made[target_start:]


@pytest.mark.parametrize(
    ("start", "target_start", "num_bytes"),
    [(0, 0, SIZE), (100, 4196, 30_000), (5000, 17, 9000), (4096, 8192, 4096), (1, 2, 0)],
)
@pytest.mark.parametrize("shares", [True, False])
def test_the_bytes_are_copied(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: int,
    target_start: int,
    num_bytes: int,
    *,
    shares: bool,
) -> None:
    def share(source: int, begin: int, target: int, target_begin: int, size: int) -> bool:
        """Do what a file system does that shares whole blocks only."""
        assert not {begin % SHARED_BLOCK_BYTES, target_begin % SHARED_BLOCK_BYTES} - {0}
        assert size % SHARED_BLOCK_BYTES == 0
        content = bytearray(size)
        files.read_at(source, memoryview(content), begin)
        files.write_at(target, memoryview(content), target_begin)
        return True

    if shares:
        monkeypatch.setattr(files, "_share_range", share)

    wanted, made = copied(tmp_path, start, target_start, num_bytes)

    assert made == wanted


def test_a_source_that_ends_before_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="shorter"):
        copied(tmp_path, SIZE - 10, 0, 11)
