"""Composer of messages: what the chat needs from a line editor, and the way to open one.

`open_composer` returns the line editor of the terminal, or the plain one (no redraw) for
``--plain``, TERM=dumb and input that is not a terminal. This module imports no line editor before
that call. Invariant: after `Composer.close`, the modes of the terminal are as they were before.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from localrun.cli.chatting.prompt.sources import CompletionSource

    # A fragment is (style, text); styles: "", "bold", "dim", "warning".
    ToolbarText = Callable[[], str | Sequence[tuple[str, str]]]

PLAIN_TERMINALS = frozenset({"", "dumb", "unknown"})


@dataclass(frozen=True, slots=True)
class KeyChoice:
    """An answer to a question: ``key`` is one letter, ``label`` says what it does."""

    key: str
    label: str
    is_default: bool = False  # chosen by Enter


class Composer(Protocol):
    """Line editor of a chat; each method belongs to the main thread."""

    def read(self, initial: str = "") -> str:
        r"""Return the next message as typed, with pastes expanded; blocks.

        Lines are joined by ``\n``; the quotes of a quoted message are removed. ``initial`` is text
        that the user can edit. Ctrl-C empties the line; an empty message is possible.

        Raises:
            EOFError: the user leaves (Ctrl-D, or Ctrl-C twice, at an empty prompt).
        """

    def edit(self, text: str) -> str:
        """Return the text after the user's editor has closed; blocks.

        Raises:
            UsageError: the editor cannot be started, or it failed.
        """

    def choose(self, question: str, choices: Sequence[KeyChoice]) -> str:
        """Return the key of the chosen answer; blocks until one of the keys is pressed.

        The last choice is the refusal: Ctrl-C, Ctrl-D, Esc and the end of the input select it.
        Enter selects the default, without a default the refusal.
        """

    def answering(self, on_fold: Callable[[], None]) -> AbstractContextManager[None]:
        """Return a context in which an answer is printed.

        Ctrl-C and Esc raise KeyboardInterrupt in the main thread, once, and at the beginning if
        Ctrl-C was pressed shortly before. Ctrl-O calls ``on_fold`` in another thread. All other
        keys are typed into the next `read`.
        """

    def close(self) -> None:
        """Restore the terminal and write the history."""


def _nothing() -> None:
    """Ignore a key."""


def _no_text() -> str:
    return ""


def _yes() -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposerOptions:
    """What a composer shows and calls.

    Callbacks are called in the main thread while the prompt is hidden, so they may print.
    """

    completion: CompletionSource | None = None
    toolbar: ToolbarText = _no_text  # called for each prompt, and after each callback
    on_fold: Callable[[], None] = _nothing  # Ctrl-O at the prompt
    on_mode: Callable[[], None] = _nothing  # Shift-Tab
    history_file: Path | None = None  # None: the history is not kept
    keeps_history: Callable[[], bool] = _yes  # whether the next message is written to the file
    is_plain: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)  # TERM, VISUAL, EDITOR


def open_composer(options: ComposerOptions) -> Composer:
    """Return a composer on stdin and stdout: the line editor if the terminal allows it."""
    if options.is_plain or not _can_redraw(options.environ):
        from localrun.cli.chatting.prompt.plain import PlainComposer

        return PlainComposer(options)
    from localrun.cli.chatting.prompt.editor import LineComposer

    return LineComposer(options)


def _can_redraw(environ: Mapping[str, str]) -> bool:
    is_dumb = sys.platform != "win32" and environ.get("TERM", "") in PLAIN_TERMINALS
    return not is_dumb and sys.stdin.isatty() and sys.stdout.isatty()
