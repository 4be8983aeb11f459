"""What a long use case tells while it works; the CLI and the server render it."""

from __future__ import annotations

from typing import Protocol


class ProgressReport(Protocol):
    """Called from one thread at a time."""

    def note(self, text: str) -> None:
        """Tell something that the user should know, in one line."""

    def begin(self, total_bytes: int | None, num_files: int) -> None:
        """Say how much there is to do in all, None where nobody knows."""

    def advance(self, name: str, done: int, total: int | None) -> None:
        """Say how far a file is, in bytes; ``done == total`` once it is complete."""


class SilentReport:
    """A report that nobody reads."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def begin(self, total_bytes: int | None, num_files: int) -> None:
        """Do nothing."""

    def advance(self, name: str, done: int, total: int | None) -> None:
        """Do nothing."""
