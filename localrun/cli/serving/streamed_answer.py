"""Answer on the terminal while it arrives: status of the load, reasoning, text.

Invariant: what is printed after it, such as an error or the prompt of the shell, begins a line; the
text on stdout is the text of the model alone.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

from localrun.cli.output import Output, is_terminal

if TYPE_CHECKING:
    from types import TracebackType


class StreamedAnswer:
    """Printer of one answer; as a context manager, it ends a line that a failure cuts."""

    def __init__(self) -> None:
        self._output = Output()
        self._last = ""  # piece of text or of reasoning
        self._is_thinking = False

    def status(self, text: str) -> None:
        """Print a status line; "" clears it."""
        self._output.status(text)

    def thought(self, text: str) -> None:
        """Print reasoning, on a terminal only."""
        if text and is_terminal(sys.stderr):
            self._output.thought(text)
            self._last, self._is_thinking = text, True

    def content(self, text: str) -> None:
        """Print a piece of text, an empty line behind the reasoning."""
        if text and self._is_thinking:
            self._output.gap(1 if self._last.endswith("\n") else 2)
            self._is_thinking = False
        self._output.piece(text)
        self._last = text or self._last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._output.status("")
        is_shown = self._is_thinking or is_terminal(sys.stdout)
        if kind is not None and self._last and is_shown and not self._last.endswith("\n"):
            self._output.gap()
