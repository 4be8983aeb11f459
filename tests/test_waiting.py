from __future__ import annotations

import signal
import sys
from concurrent.futures import Future
from concurrent.futures import wait as real_wait

import pytest

from localrun.waiting import result, results

assert sys.platform != "win32"


def test_a_result_or_the_failure_is_that_of_the_future() -> None:
    done: Future[int] = Future()
    done.set_result(3)
    failed: Future[int] = Future()
    failed.set_exception(KeyError("lost"))

    assert result(done) == 3
    assert results([done, done]) == [3, 3]
    with pytest.raises(KeyError, match="lost"):
        results([done, failed])


def test_an_interrupt_that_wakes_no_wait_is_noticed_after_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The signal of the test is blocked while the system waits, as one that came just before."""
    pending: Future[int] = Future()

    def wait(futures: list[Future[int]], timeout_s: float) -> object:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            signal.raise_signal(signal.SIGINT)  # to this thread: another would take it at once
            return real_wait(futures, timeout_s)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    monkeypatch.setattr("concurrent.futures.wait", wait)
    with pytest.raises(KeyboardInterrupt):
        result(pending)
