"""Picker: a list in the terminal, of which typing filters and Enter takes one entry.

On a terminal that cannot redraw lines, the list is numbered and a line is read. Invariant: the list
is gone from the screen when an entry is taken.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.cli.menu.entries import matching
from localrun.cli.output import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prompt_toolkit.application import Application
    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    from localrun.cli.menu.entries import MenuEntry

SIMPLE_TERMINALS = {"", "dumb", "unknown"}
MAX_SHOWN = 15
HEAD = "localrun"
KEYS = "type to filter, Enter takes, Esc leaves"


@dataclass(slots=True)
class Picker:
    """State of the list: what is typed, and which entry is marked."""

    entries: Sequence[MenuEntry]
    typed: str = ""
    marked: int = field(default=0)

    @property
    def shown(self) -> list[MenuEntry]:
        """Return the entries that match what is typed."""
        return matching(self.entries, self.typed)

    def move(self, step: int) -> None:
        """Mark another entry; the last is followed by the first."""
        if self.shown:
            self.marked = (self.marked + step) % len(self.shown)

    def type(self, text: str) -> None:
        """Add to the filter."""
        if text.isprintable():
            self.typed, self.marked = self.typed + text, 0

    def erase(self) -> None:
        """Remove the last character of the filter."""
        self.typed, self.marked = self.typed[:-1], 0

    def taken(self) -> MenuEntry | None:
        """Return the marked entry, None if nothing matches."""
        return self.shown[self.marked] if self.shown else None

    def fragments(self) -> StyleAndTextTuples:
        """Return the lines with their styles, as prompt_toolkit prints them."""
        columns, lines = shutil.get_terminal_size()
        room = max(1, min(MAX_SHOWN, lines - 3))
        shown = self.shown
        first = max(0, min(self.marked - room + 1, len(shown) - room))
        first = max(first, 0)
        head = f"{HEAD}: {self.typed}" if self.typed else f"{HEAD}   {KEYS}"
        result: StyleAndTextTuples = [("bold", _cut(head, columns) + "\n")]
        for number, entry in enumerate(shown[first : first + room], first):
            is_marked = number == self.marked
            text = _cut(("> " if is_marked else "  ") + entry.line, columns)
            result.append(("reverse" if is_marked else "", text + "\n"))
        return result if shown else [*result, ("", _cut("  nothing matches", columns) + "\n")]


def pick(entries: Sequence[MenuEntry]) -> MenuEntry | None:
    """Return the entry that the user takes, None if the user leaves."""
    if os.name != "nt" and os.environ.get("TERM", "") in SIMPLE_TERMINALS:
        return _pick_by_number(entries)
    picker = Picker(entries)
    return picker.taken() if _application(picker).run() else None


def _pick_by_number(entries: Sequence[MenuEntry]) -> MenuEntry | None:
    output = Output()
    for number, entry in enumerate(entries, 1):
        output.note(f"{number:3} {entry.line}")
    output.note("Number (empty: leave):")
    line = sys.stdin.readline().strip()
    is_number = line.isascii() and line.isdigit() and len(line) < len("1000000")
    return entries[int(line) - 1] if is_number and 0 < int(line) <= len(entries) else None


def _application(picker: Picker) -> Application[bool]:
    from prompt_toolkit.application import Application
    from prompt_toolkit.layout import Layout, Window
    from prompt_toolkit.layout.controls import FormattedTextControl
    from prompt_toolkit.output import create_output
    from prompt_toolkit.output.vt100 import Vt100_Output

    output = create_output()
    if isinstance(output, Vt100_Output):
        output.enable_cpr = False  # the answer of a slow terminal would be read as keys
    window = Window(FormattedTextControl(picker.fragments, show_cursor=False), wrap_lines=False)
    return Application(
        layout=Layout(window), key_bindings=_keys(picker), output=output, erase_when_done=True
    )


def _keys(picker: Picker) -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    def leave(event: KeyPressEvent) -> None:
        event.app.exit(result=False)

    for name in ("c-c", "c-d", "escape"):
        keys.add(name, eager=True)(leave)
    for name, step in (("up", -1), ("c-p", -1), ("down", 1), ("c-n", 1), ("tab", 1)):
        keys.add(name)(lambda _event, step=step: picker.move(step))
    keys.add("backspace")(lambda _event: picker.erase())
    keys.add("enter")(lambda event: event.app.exit(result=True) if picker.shown else None)
    keys.add("<any>")(lambda event: picker.type(event.data))
    return keys


def _cut(text: str, columns: int) -> str:
    from wcwidth import wcwidth

    width = 0
    for position, character in enumerate(text):
        width += max(0, wcwidth(character))
        if width >= columns:
            return text[:position]
    return text
