from __future__ import annotations

import signal

import pytest

from localrun.cli.chatting.prompt.interrupts import PATIENCE_S, one_interrupt, orderly_end


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_second_interrupt_does_not_break_what_the_first_has_started() -> None:
    clock = Clock()

    with one_interrupt(clock):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        clock.now_s = PATIENCE_S / 2
        signal.raise_signal(signal.SIGINT)
        clock.now_s = PATIENCE_S
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_handler_before_comes_back() -> None:
    before = signal.getsignal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), one_interrupt():
        signal.raise_signal(signal.SIGINT)

    assert signal.getsignal(signal.SIGINT) is before


def test_termination_unwinds_the_stack() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ended, orderly_end():
            signal.raise_signal(signal.SIGTERM)

        assert ended.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with orderly_end():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
