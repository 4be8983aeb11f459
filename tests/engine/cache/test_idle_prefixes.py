"""Which idle prefixes leave the cells before a prompt is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.engine.cache.prefix_cache import PrefixCache
from tests.engine.test_scheduler import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERVAL = 4  # prompt tokens for each piece that moves
PLENTY = 10_000  # bytes of host memory


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Yield an engine whose cells hold three prefixes that nobody uses."""
    monkeypatch.setattr("localrun.engine.cache.idle_prefixes.CHECK_INTERVAL_TOKENS", INTERVAL)
    found = Bench(budget_bytes=PLENTY)
    for number in range(3):
        found.submit(number, [100 + number] * 8, 1)
    found.drain()
    yield found
    found.check_end()


def num_idle(bench: Bench) -> int:
    assert isinstance(bench.cache, PrefixCache)
    return bench.cache.tree.num_idle


def test_all_leave_before_a_long_prompt(bench: Bench) -> None:
    assert num_idle(bench) == 24

    bench.submit(9, [5] * 12, 5)
    bench.engine.step()

    assert num_idle(bench) == 0
    bench.drain()


def test_one_piece_leaves_before_a_short_prompt(bench: Bench) -> None:
    bench.submit(9, [5] * 2, 5)
    bench.engine.step()

    assert num_idle(bench) == 16
    bench.drain()


def test_a_prefix_that_left_is_not_computed_again(bench: Bench) -> None:
    bench.submit(9, [5] * 12, 5)
    bench.drain()

    seq = bench.submit(10, [*[101] * 8, 7], 1)
    bench.drain()

    assert seq.num_cached == 8
