"""Toolbar of the prompt: one line of fragments, cut to the width of the screen.

The text is computed when a prompt opens and after each callback, never while keys are typed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit.utils import get_cwidth

from localrun.terminal import harmless_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.cli.chatting.prompt.composer import ToolbarText

STYLES = {
    "": "class:toolbar",
    "dim": "class:toolbar.dim",
    "bold": "class:toolbar.bold",
    "warning": "class:toolbar.warning",
}
CUT = "…"


class Toolbar:
    """The text under the prompt."""

    def __init__(self, text: ToolbarText) -> None:
        self._text = text
        self._fragments: list[tuple[str, str]] = []

    def refresh(self) -> None:
        """Compute the text again."""
        text = self._text()
        pairs = [("", text)] if isinstance(text, str) else text
        self._fragments = [
            (STYLES.get(style, STYLES[""]), harmless_line(each).replace("\n", " "))
            for style, each in pairs
        ]

    def fragments(self, columns: int) -> list[tuple[str, str]]:
        """Return what fits into a line, with a mark if it was cut."""
        return fitting(self._fragments, columns - 1)


def fitting(fragments: Sequence[tuple[str, str]], columns: int) -> list[tuple[str, str]]:
    """Return the fragments, cut to a number of columns; the mark of a cut is one of them."""
    if sum(get_cwidth(text) for _, text in fragments) <= columns:
        return list(fragments)
    kept: list[tuple[str, str]] = []
    for style, text in fragments:
        part = _beginning(text, columns - 1)
        columns -= get_cwidth(part)
        kept.append((style, part))
        if len(part) < len(text):
            kept.append((style, CUT if columns > 0 else ""))
            break
    return kept


def _beginning(text: str, columns: int) -> str:
    """Return as many letters as fit into a number of columns."""
    width = 0
    for index, letter in enumerate(text):
        width += get_cwidth(letter)
        if width > columns:
            return text[:index]
    return text
