"""Waits of a command's main thread that Ctrl-C always ends.

Python runs the handler of a signal between two instructions of the main thread. A signal that
arrives between the last check and the system call of a wait does not wake it: the handler runs
after the wait, which may be never. Here the main thread waits in steps, and checks after each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

STEP_S = 0.5

Result = TypeVar("Result")


def results(futures: Iterable[Future[Result]]) -> list[Result]:
    """Return the results in the order of the futures; raises the first one's failure."""
    return [result(future) for future in futures]


def result(future: Future[Result]) -> Result:
    """Return the future's result, or raise its failure; blocks until it is done."""
    from concurrent.futures import wait

    while not future.done():
        wait([future], STEP_S)
    return future.result()
