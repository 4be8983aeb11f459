"""A rate is kept together."""

from __future__ import annotations

import threading
import time

import pytest

from localrun.registry.limit import LARGEST_PIECE, SMALLEST_PIECE, RateLimit


def seconds(limit: RateLimit, count: int, num_threads: int) -> float:
    """Return how long threads need to take as many bytes each."""
    began, never = time.monotonic(), threading.Event()

    def take() -> None:
        for _ in range(count):
            limit.take(1000, never)

    threads = [threading.Thread(target=take) for _ in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def test_threads_share_a_rate() -> None:
    assert 0.3 <= seconds(RateLimit(100_000), 15, 4) < 1.5


@pytest.mark.parametrize("rate", [None, 0.0])
def test_no_limit_takes_no_time(rate: float | None) -> None:
    assert seconds(RateLimit(rate), 100, 1) < 0.2


def test_who_is_told_to_stop_does_not_wait() -> None:
    limit, stop = RateLimit(1), threading.Event()
    stop.set()

    began = time.monotonic()
    limit.take(1000, stop)

    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize(
    ("rate", "piece"),
    [(None, LARGEST_PIECE), (1, SMALLEST_PIECE), (320_000, 10_000), (1e12, LARGEST_PIECE)],
)
def test_a_low_rate_reads_little_at_once(rate: float | None, piece: int) -> None:
    assert RateLimit(rate).piece_bytes == piece
