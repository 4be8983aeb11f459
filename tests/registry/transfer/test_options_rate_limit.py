"""A rate is kept together."""

from __future__ import annotations

import threading

import pytest

from localrun.registry.transfer import options as options_module
from localrun.registry.transfer.options import LARGEST_PIECE, SMALLEST_PIECE, RateLimit
from tests.waiting import HANG_S


class Timeline(threading.Event):
    """A clock, and an event that never comes: to wait for it moves the clock on."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0
        self._lock = threading.Lock()
        self._seen_s = threading.local()

    def monotonic(self) -> float:
        self._seen_s.value = self.now_s
        return self.now_s

    def wait(self, timeout: float | None = None) -> bool:
        with self._lock:
            self.now_s = max(self.now_s, self._seen_s.value + (timeout or 0.0))
        return False


@pytest.fixture
def timeline(monkeypatch: pytest.MonkeyPatch) -> Timeline:
    found = Timeline()
    monkeypatch.setattr(options_module, "time", found)
    return found


def take(timeline: Timeline, limit: RateLimit, count: int, num_threads: int) -> float:
    """Return how long threads need to take as many times 1000 bytes each."""
    begun_s = timeline.now_s

    def take_all() -> None:
        for _ in range(count):
            limit.take(1000, timeline)

    threads = [threading.Thread(target=take_all) for _ in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return timeline.now_s - begun_s


def test_threads_share_a_rate(timeline: Timeline) -> None:
    taken_s = take(timeline, RateLimit(100_000), 15, 4)

    assert taken_s == pytest.approx(0.6 - 0.25)  # a quarter of a second's worth is there at first


@pytest.mark.parametrize("rate", [None, 0.0])
def test_no_limit_takes_no_time(timeline: Timeline, rate: float | None) -> None:
    assert take(timeline, RateLimit(rate), 100, 1) == 0


def test_who_is_told_to_stop_does_not_wait() -> None:
    limit, stop = RateLimit(1), threading.Event()
    stop.set()

    waiting = threading.Thread(target=limit.take, args=(1000, stop), daemon=True)
    waiting.start()
    waiting.join(HANG_S)

    assert not waiting.is_alive()


@pytest.mark.parametrize(
    ("rate", "piece"),
    [(None, LARGEST_PIECE), (1, SMALLEST_PIECE), (320_000, 10_000), (1e12, LARGEST_PIECE)],
)
def test_a_low_rate_reads_little_at_once(rate: float | None, piece: int) -> None:
    assert RateLimit(rate).piece_bytes == piece
