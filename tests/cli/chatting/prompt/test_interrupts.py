from __future__ import annotations

import signal

import pytest

from localrun.cli.chatting.prompt.interrupts import (
    PATIENCE_S,
    Interrupts,
    one_interrupt,
    orderly_end,
)


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


def test_a_held_interrupt_is_raised_where_it_is_allowed() -> None:
    interrupts = Interrupts()
    reached = []

    with interrupts.installed(), interrupts.held():
        signal.raise_signal(signal.SIGINT)
        reached.append("set up")
        with pytest.raises(KeyboardInterrupt), interrupts.allowed():
            reached.append("never")
        signal.raise_signal(signal.SIGINT)
        reached.append("cleaned up")

    assert reached == ["set up", "cleaned up"]


def test_an_interrupt_before_a_held_section_is_not_that_of_the_section() -> None:
    interrupts = Interrupts()

    with interrupts.installed():
        with interrupts.held():
            signal.raise_signal(signal.SIGINT)
        with interrupts.held(), interrupts.allowed():
            pass


def test_each_held_section_can_be_interrupted_at_once() -> None:
    interrupts = Interrupts(Clock())

    with interrupts.installed():
        for _ in range(3):
            with (
                pytest.raises(KeyboardInterrupt),
                interrupts.held(),
                interrupts.allowed(),
            ):
                signal.raise_signal(signal.SIGINT)


def test_a_section_within_what_is_allowed_holds_and_allows_again() -> None:
    interrupts = Interrupts()

    with interrupts.installed(), interrupts.held(), interrupts.allowed():
        with interrupts.held():
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_an_interrupt_is_given_to_a_taker_until_it_is_kept() -> None:
    interrupts = Interrupts()
    taken = []

    with interrupts.installed(), interrupts.held():
        with interrupts.given_to(lambda: taken.append(1)):
            signal.raise_signal(signal.SIGINT)
            interrupts.keep()
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), interrupts.allowed():
            pass

    assert taken == [1]


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
