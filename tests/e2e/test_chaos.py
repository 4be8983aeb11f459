"""The short form of `scripts/chaos`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.chaos import OURS, Figures, chaos

if TYPE_CHECKING:
    from pathlib import Path


def has_seen_enough(figures: Figures) -> bool:
    return figures.ends["answer"] > 40 and min(figures.num_kills, figures.num_restarts) > 0


def test_whatever_happens_each_request_ends_once_and_nothing_is_left(tmp_path: Path) -> None:
    with chaos(tmp_path, seed=1) as running:
        found = running.run(has_seen_enough)

    assert not found.strange, found.table()
    assert not found.orphans, found.table()
    assert not found.leaks, found.table()
    assert set(found.ends) <= set(OURS)
    assert found.most_loaded <= 2, found.table()
