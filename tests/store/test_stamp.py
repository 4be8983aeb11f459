"""Stamps, by which a changed file is noticed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from localrun.store.stamp import is_settled, stamp_of

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND


def test_a_file_that_is_written_or_replaced_has_another_stamp(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"12345")
    os.utime(path, ns=(NOW, NOW))
    first = stamp_of(path)

    os.utime(path, ns=(NOW, NOW + 1))
    written = stamp_of(path)
    other.write_bytes(b"54321")
    os.utime(other, ns=(NOW, NOW + 1))
    other.replace(path)

    assert len({first, written, stamp_of(path)}) == 3


def test_another_hard_link_leaves_the_stamp(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    before = stamp_of(path)

    (tmp_path / "link").hardlink_to(path)

    assert stamp_of(path) == before


@pytest.mark.parametrize(
    ("age_ns", "fraction_ns", "expected"),
    [
        (50_000_000, 7, False),
        (200_000_000, 7, True),
        (SECOND, 0, False),  # the file system may count whole seconds
        (3 * SECOND, 0, True),
        (-SECOND, 7, False),  # another machine's clock is ahead
    ],
)
def test_a_file_settles_when_the_clock_has_ticked(
    age_ns: int, fraction_ns: int, *, expected: bool
) -> None:
    modified_ns = NOW + fraction_ns

    assert is_settled((5, modified_ns, 1), modified_ns + age_ns) is expected
