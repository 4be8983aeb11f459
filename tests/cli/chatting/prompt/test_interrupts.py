from __future__ import annotations

import signal
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from localrun.cli.chatting.prompt.interrupts import (
    PATIENCE_S,
    Interrupts,
    one_interrupt,
    orderly_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


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


def is_interrupted(context: AbstractContextManager[None], act: Callable[[], None]) -> bool:
    """Return whether an act within a context is interrupted."""
    try:
        with context:
            act()
    except KeyboardInterrupt:
        return True
    return False


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def nothing() -> None:
    """Do nothing."""


def test_a_held_interrupt_is_raised_where_it_is_allowed() -> None:
    interrupts = Interrupts(Clock())
    reached = []

    with interrupts.installed(), interrupts.held():
        press()
        reached.append("set up")
        assert is_interrupted(interrupts.allowed(), lambda: reached.append("never"))

    assert reached == ["set up"]


def test_an_interrupt_in_a_clean_up_is_that_of_what_is_allowed_next() -> None:
    interrupts = Interrupts(Clock())

    with interrupts.installed():
        with interrupts.held():
            assert not is_interrupted(interrupts.allowed(), nothing)
            press()
        with interrupts.held():
            assert is_interrupted(interrupts.allowed(), nothing)
            assert not is_interrupted(interrupts.allowed(), nothing)


def test_a_second_interrupt_in_the_clean_up_of_the_first_is_ignored() -> None:
    interrupts = Interrupts(Clock())

    with interrupts.installed():
        with interrupts.held():
            assert is_interrupted(interrupts.allowed(), press)
            press()
        with interrupts.held():
            assert not is_interrupted(interrupts.allowed(), nothing)
            assert is_interrupted(interrupts.allowed(), press)


def test_a_section_within_what_is_allowed_holds_and_allows_again() -> None:
    interrupts = Interrupts(Clock())

    with interrupts.installed(), interrupts.held(), interrupts.allowed():
        with interrupts.held():
            press()
            assert is_interrupted(interrupts.allowed(), nothing)
        with interrupts.held():
            pass
        assert is_interrupted(nullcontext(), press)


def test_outside_of_a_section_an_interrupt_is_raised() -> None:
    interrupts = Interrupts(Clock())

    with interrupts.installed():
        with interrupts.held(), interrupts.allowed():
            pass
        assert is_interrupted(nullcontext(), press)
    with interrupts.installed(), interrupts.held():
        assert is_interrupted(interrupts.allowed(), press)


def test_an_interrupt_is_given_to_a_taker_until_the_giving_stops() -> None:
    interrupts = Interrupts(Clock())
    taken: list[int] = []

    with interrupts.installed(), interrupts.held():
        press()  # of what was before: forgotten
        with interrupts.given_to(lambda: taken.append(1)):
            press()
            interrupts.stop_giving()
            assert not is_interrupted(interrupts.allowed(), nothing)
            press()
        assert is_interrupted(interrupts.allowed(), nothing)

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
