"""Lines of the terminal by `input`, edited by Python's readline if there is one."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable


class Readline(Protocol):
    """What is used of the module; Windows and some builds of Python have none."""

    def add_history(self, line: str, /) -> None:
        """Add a line, which the arrow keys recall."""

    def insert_text(self, text: str, /) -> None:
        """Insert a text into the line."""

    def set_startup_hook(self, function: Callable[[], None] | None = None, /) -> None:
        """Call a function when a line begins."""

    def parse_and_bind(self, string: str, /) -> None:
        """Execute a line of an inputrc file."""

    def set_auto_history(self, enabled: bool, /) -> None:
        """Add each line that is read."""


class LineInput:
    """Lines that the user types."""

    def __init__(self) -> None:
        self._readline = _readline()

    @property
    def can_edit(self) -> bool:
        """Return whether a line can begin with a text that the user edits."""
        return self._readline is not None

    def read(self, prompt: str, initial: str) -> str:
        """Return the next line; blocks.

        Raises:
            EOFError: the input has ended.
        """
        if self._readline is None or not initial:
            return input(prompt)
        readline = self._readline
        readline.set_startup_hook(lambda: readline.insert_text(initial))
        try:
            return input(prompt)
        finally:
            readline.set_startup_hook(None)

    def remember(self, text: str) -> None:
        """Add a message of one line to what the arrow keys recall."""
        if self._readline is not None and text.strip() and "\n" not in text:
            self._readline.add_history(text)


def _readline() -> Readline | None:
    try:
        module = importlib.import_module("readline")
    except ImportError:
        return None
    readline = cast("Readline", module)
    readline.set_auto_history(False)
    readline.parse_and_bind("set enable-bracketed-paste on")  # or each line of a paste is sent
    return readline
