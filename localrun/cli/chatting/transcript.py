"""Transcript: everything that a chat prints between two prompts, and its answers.

Invariant: text of the model, of files and of kept chats passes `harmless` before it reaches the
terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.errors import LocalrunError


class Transcript:
    """Output of one chat."""

    def __init__(self) -> None:
        self._output = Output()

    def note(self, text: str) -> None:
        """Print a message of the program."""
        self._output.note(text)

    def aside(self, text: str) -> None:
        """Print a dim message of the program."""
        self._output.aside(text)

    def error(self, error: LocalrunError) -> None:
        """Print an error and its hint."""
        self._output.error(error)

    def text(self, text: str) -> None:
        """Print a text that the user asked for, such as a template."""
        self._output.text(text)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print aligned columns."""
        self._output.table(heads, rows)

    def status(self, text: str) -> None:
        """Print a line that the next output replaces; "" clears it."""
        self._output.status(text)

    def thought(self, text: str) -> None:
        """Print a piece of a thought."""
        self._output.thought(text)

    def content(self, text: str) -> None:
        """Print a piece of an answer."""
        self._output.piece(text)

    def end_answer(self) -> None:
        """End the lines of an answer."""
        self._output.piece("\n")
