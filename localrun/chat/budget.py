"""What one rendering of a template may use: time, and text that it builds."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.chat.sizes import MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class RenderLimits:
    """The most that one rendering may use."""

    seconds: float = 10.0
    built: int = 512 * 1024 * 1024  # of all that it ever builds, in the unit of sizes.py


class TemplateStoppedError(Exception):
    """The template used up what it may use."""


class Budget:
    """What is left to the rendering of this thread."""

    def __init__(self, limits: RenderLimits) -> None:
        self._limits = limits
        self._rest = _Rest()

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Give the rendering inside of the block its time and space."""
        rest = self._rest
        rest.deadline = time.monotonic() + self._limits.seconds
        rest.size = self._limits.built
        try:
            yield
        finally:
            rest.deadline, rest.size = float("inf"), MAX_SIZE

    def charge(self, size: int) -> None:
        """Count what is about to be built.

        Raises:
            TemplateStoppedError: it is too much, or the time is over.
        """
        rest = self._rest
        rest.size -= size
        if size > MAX_SIZE or rest.size < 0:
            raise TemplateStoppedError("it builds too much text")
        if time.monotonic() > rest.deadline:
            raise TemplateStoppedError(f"it ran for more than {self._limits.seconds:g} s")

    def tick(self) -> bool:
        """Look at the clock; always true, for it stands inside of expressions."""
        if time.monotonic() > self._rest.deadline:
            self.charge(0)
        return True

    def steps(self, items: Iterable[Any]) -> Iterator[Any]:
        """Go over the items of a loop and look at the clock at each."""
        deadline, clock = self._rest.deadline, time.monotonic
        for item in items:
            if clock() > deadline:
                self.charge(0)
            yield item


class _Rest(threading.local):
    deadline = float("inf")
    size = MAX_SIZE  # while Jinja computes what is constant in a template
