"""A call on a large stack: what it returns and raises reaches the caller, and nobody else's."""

from __future__ import annotations

import threading

import pytest

from localrun.engine.constraints.compiler import STACK_BYTES, on_deep_stack


def test_what_a_call_returns_and_raises_reaches_the_caller() -> None:
    assert on_deep_stack(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        on_deep_stack(lambda: 1 // 0)


def test_other_threads_keep_their_stacks() -> None:
    before = threading.stack_size()

    during = on_deep_stack(threading.stack_size)

    assert before == threading.stack_size() != STACK_BYTES
    assert during in {before, STACK_BYTES}  # it may run before the size is set back
