"""History of the line editor: the messages of the user's file, and those of this chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit.history import History

from localrun.cli.chatting.prompt.history import append_history, read_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from localrun.cli.chatting.prompt.pastes import FoldedPastes


class LineHistory(History):
    """Messages as the line editor holds them, with long ones folded."""

    def __init__(
        self, path: Path | None, pastes: FoldedPastes, keeps: Callable[[], bool] = lambda: True
    ) -> None:
        super().__init__()
        self._path = path
        self._keeps = keeps
        self._pastes = pastes

    def load_history_strings(self) -> Iterator[str]:
        """Yield the kept messages, the newest first."""
        if self._path is not None:
            yield from map(self._pastes.fold, reversed(read_history(self._path)))

    def store_string(self, string: str) -> None:
        """Keep a message, with its pastes in full."""
        if self._path is not None and self._keeps():
            append_history(self._path, self._pastes.expand(string))
