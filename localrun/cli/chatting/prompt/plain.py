"""Plain composer: lines of the terminal, without any redraw.

For ``--plain``, screen readers, TERM=dumb and output that is not a terminal. It has the message
syntax of the line editor. Where Python has readline, a line can be edited, and the arrow keys
recall the history.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from localrun.cli.chatting.prompt.choosing import ask_by_line
from localrun.cli.chatting.prompt.external_editor import edit_text
from localrun.cli.chatting.prompt.history import append_history, read_history
from localrun.cli.chatting.prompt.interrupts import one_interrupt
from localrun.cli.chatting.prompt.line_input import LineInput
from localrun.cli.chatting.prompt.message_text import (
    BACKSLASH,
    CONTINUED,
    PROMPT,
    as_unicode,
    ends_with_backslash,
    is_quoted,
    is_unfinished,
    unquoted,
)
from localrun.cli.chatting.prompt.modes import unflushed
from localrun.terminal import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from localrun.cli.chatting.prompt.composer import ComposerOptions, KeyChoice

STDIN = 0
LEAVE_HINT = "press Ctrl-C again or Ctrl-D to leave"
SEND_HINT = "Enter sends this text; any other line replaces it"


class PlainComposer:
    """Composer by `input`."""

    def __init__(self, options: ComposerOptions) -> None:
        self._options = options
        self._lines = LineInput()
        for text in [] if options.history_file is None else read_history(options.history_file):
            self._lines.remember(text)
        self._has_interrupted = False

    def read(self, initial: str = "") -> str:
        """Return the next message."""
        while True:
            try:
                text = self._read_message(initial)
            except KeyboardInterrupt:
                self._note_interrupt()
                initial = ""
                continue
            self._has_interrupted = False
            self._keep(text)
            return unquoted(text)

    def edit(self, text: str) -> str:
        """Return the text after the user's editor has closed."""
        return edit_text(text, self._options.environ)

    def choose(self, question: str, choices: Sequence[KeyChoice]) -> str:
        """Return the key of the chosen answer, from a line."""
        return ask_by_line(question, choices)

    def answering(self, on_fold: Callable[[], None]) -> AbstractContextManager[None]:
        """Return a context in which Ctrl-C interrupts once; the terminal keeps typed lines."""
        del on_fold  # a plain screen folds nothing
        return one_interrupt()

    def close(self) -> None:
        """Do nothing: the modes of the terminal are never changed."""

    def _read_message(self, initial: str) -> str:
        if "\n" in initial or (initial and not self._lines.can_edit):
            return self._read_replacement(initial)
        text = self._read_line(PROMPT, initial)
        while is_unfinished(text):
            if not is_quoted(text) and ends_with_backslash(text):
                text = text.removesuffix(BACKSLASH)
            text += "\n" + self._read_line(CONTINUED)
        return text

    def _read_replacement(self, initial: str) -> str:
        """Show a text of several lines, which a line cannot edit, and return it or another."""
        self._write(f"{harmless(initial)}\n({SEND_HINT})\n")
        return self._read_message("") or initial

    def _read_line(self, prompt: str, initial: str = "") -> str:
        if not sys.stdout.isatty():  # the prompt is not a part of the output
            self._write(prompt)
            prompt = ""
        with unflushed(STDIN):
            return as_unicode(self._lines.read(prompt, initial))

    def _keep(self, text: str) -> None:
        path = self._options.history_file
        if path is not None and self._options.keeps_history():
            append_history(path, text)
        self._lines.remember(text)

    def _note_interrupt(self) -> None:
        """Say how to leave; leave if that was said just before.

        Raises:
            EOFError: the user leaves.
        """
        self._write("\n")
        if self._has_interrupted:
            raise EOFError
        self._has_interrupted = True
        self._write(f"({LEAVE_HINT})\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
