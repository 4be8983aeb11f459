"""The short form of `scripts/chaos`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.chaos import OURS, chaos

if TYPE_CHECKING:
    from pathlib import Path

SECONDS, LONGEST_WAIT_S = 20, 30


def test_whatever_happens_each_request_ends_once_and_nothing_is_left(tmp_path: Path) -> None:
    with chaos(tmp_path, seed=1) as running:
        found = running.run(SECONDS)

    assert not found.strange, found.table()
    assert not found.orphans, found.table()
    assert not found.leaks, found.table()
    assert set(found.ends) <= set(OURS)
    assert found.ends["answer"] > 20, found.table()
    assert min(found.num_kills, found.num_restarts) > 0, found.table()
    assert found.most_loaded <= 2, found.table()
    assert max(found.waits_s) < LONGEST_WAIT_S, found.table()
