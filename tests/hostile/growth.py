"""How the work of a reader grows with what it reads."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError
from tests.hostile.meter import plain_work_s
from tests.hostile.repetitions import MB, SIZES
from tests.measuring import processor_s

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GROWTH = 25.0  # of the work, for 10 times the size
MAX_UNITS = 40.0  # of plain work, for a megabyte
MIN_UNITS = 20.0  # that any size may cost: 20,000 instructions take some 10
TRIES = 3
LONGEST_MESSAGE = 20_000  # characters


def refusal(act: Callable[[], object]) -> str:
    """Return the message of our own error in which an act ends, empty without one."""
    try:
        act()
    except LocalrunError as error:
        return error.message
    return ""


def work_s(act: Callable[[], object]) -> float:
    """Return the processor time of an act, which may end in an error of ours."""
    messages: list[str] = []
    took = processor_s(lambda: messages.append(refusal(act)))
    assert len(messages[0]) < LONGEST_MESSAGE, "an error repeats what was read"
    return took


class Growth:
    """Holds the growth of readers, in as many sizes as there is time for."""

    def __init__(self, *, is_full: bool) -> None:
        self._is_full = is_full
        self._sizes = SIZES if is_full else SIZES[:2]
        self._unit_s = plain_work_s()

    def sample(self, values: Sequence[str], key: str) -> Sequence[str]:
        """Return all values where there is time for them, else a fourth, by the key."""
        return values if self._is_full else values[zlib.crc32(key.encode()) % 4 :: 4]

    def check(self, make: Callable[[int], Callable[[], object]]) -> None:
        """Hold that 10 times the size costs no more than 25 times the work, and never too much.

        ``make`` prepares the act of reading something of a size; only the act is measured.
        """
        problems = []
        for _ in range(TRIES):
            problem = self._problem(make)
            if problem is None:
                return
            problems.append(problem)
        raise AssertionError(problems)

    def _problem(self, make: Callable[[int], Callable[[], object]]) -> str | None:
        smaller = unit = self._unit_s
        for size in self._sizes:
            took = work_s(make(size))
            if took > GROWTH * max(smaller, unit):
                return f"{took:.3f} s for {size} bytes, {smaller:.3f} s for a tenth of it"
            if took > unit * max(MIN_UNITS, MAX_UNITS * size / MB):
                return f"{took / unit:.1f} times a plain loop for {size} bytes"
            smaller = took
        return None
