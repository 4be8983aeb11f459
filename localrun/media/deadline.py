"""Time limit on decoding one file: checked between the pieces that a decoder works on."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_S = 60.0  # of one file


class Deadline:
    """The time at which decoding a file is given up; ``name`` is the file's, in the error."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._clock = clock
        self._end_s = clock() + LONGEST_S

    @property
    def remaining_s(self) -> float:
        """Return the seconds that are left, at least 0."""
        return max(0.0, self._end_s - self._clock())

    def check(self) -> None:
        """Check that there is time left.

        Raises:
            UsageError: there is none.
        """
        if not self.remaining_s:
            raise self.error()

    def error(self) -> UsageError:
        """Return the error of a file that takes too long."""
        return UsageError(
            f"{self.name} takes more than {LONGEST_S:.0f} s to decode",
            hint="send a smaller or simpler file",
            param=self.name,
        )


class TimedBytes(io.BytesIO):
    """A file in memory whose reads fail once the deadline has passed.

    Pillow reads 64 KiB, decodes them and reads on, so that a long decode ends between two reads.
    """

    def __init__(self, data: bytes, deadline: Deadline) -> None:
        super().__init__(data)
        self._deadline = deadline

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes.

        Raises:
            UsageError: the deadline has passed.
        """
        self._deadline.check()
        return super().read(size)
