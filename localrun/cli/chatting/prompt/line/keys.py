"""Keys of the line editor that differ from those of a shell.

Enter          send; goes on if quotes are open or the line ends with a backslash
Alt-Enter      a new line                   Esc Esc        empty the text
Ctrl-C         empty the text; twice at an empty prompt: leave
Ctrl-D         at an empty prompt: leave    Ctrl-Z         suspend
Ctrl-X Ctrl-E, Ctrl-G   the user's editor   Ctrl-O         fold
Ctrl-L         clear the screen             Shift-Tab      the mode of tools
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prompt_toolkit.filters import Condition, has_focus, has_selection
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.keys import Keys

from localrun.cli.chatting.prompt.line.clusters import first_cluster, last_cluster
from localrun.cli.chatting.prompt.message_text import (
    as_unicode,
    ends_with_backslash,
    is_quoted,
    is_unfinished,
    with_line_ends,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.key_binding import KeyPressEvent

    from localrun.cli.chatting.prompt.composer import ComposerOptions
    from localrun.cli.chatting.prompt.pastes import FoldedPastes


class PromptActions(Protocol):
    """What keys do besides changing the text."""

    def send(self) -> None:
        """End the prompt with its text."""

    def open_editor(self) -> None:
        """End the prompt, and go on with the text in the user's editor."""

    def interrupt(self) -> None:
        """Leave if the key was pressed just before; else say how to leave."""

    def leave(self) -> None:
        """End the prompt and the chat."""

    def suspend(self) -> None:
        """Stop the job, as Ctrl-Z does in other programs."""

    def call(self, act: Callable[[], None]) -> None:
        """Call a function that may print."""


def prompt_keys(
    buffer: Buffer, pastes: FoldedPastes, actions: PromptActions, options: ComposerOptions
) -> KeyBindings:
    """Return the keys of a prompt."""
    keys = KeyBindings()
    is_typing = has_focus(buffer)
    is_empty = Condition(lambda: not buffer.text)
    _add_lines(keys, buffer, pastes, actions)
    _add_moves(keys, buffer)
    keys.add("c-d", filter=is_typing & is_empty)(lambda _: actions.leave())
    for name in ("c-c", Keys.SIGINT):
        keys.add(name, filter=is_typing & is_empty)(lambda _: actions.interrupt())
        keys.add(name, filter=is_typing & ~is_empty)(lambda _: buffer.reset())
    keys.add("escape", "escape", filter=is_typing)(lambda _: buffer.reset())
    keys.add("c-x", "c-e", filter=is_typing)(lambda _: actions.open_editor())
    keys.add("c-g", filter=is_typing)(lambda _: actions.open_editor())
    keys.add("c-o", filter=is_typing, eager=True)(lambda _: actions.call(options.on_fold))
    is_choosing = Condition(lambda: buffer.complete_state is not None)
    keys.add("s-tab", filter=is_typing & ~is_choosing)(lambda _: actions.call(options.on_mode))
    keys.add("c-z", filter=is_typing)(lambda _: actions.suspend())
    return keys


def _add_lines(
    keys: KeyBindings, buffer: Buffer, pastes: FoldedPastes, actions: PromptActions
) -> None:
    """Add the keys that end or continue a line, and pastes."""

    @keys.add("enter", filter=has_focus(buffer))
    def _(_event: KeyPressEvent) -> None:
        if _is_choosing(buffer):
            buffer.complete_state = None  # the completion is in the text already
        elif is_unfinished(buffer.text):
            _continue_line(buffer)
        else:
            actions.send()

    @keys.add("escape", "enter", filter=has_focus(buffer))
    def _(_event: KeyPressEvent) -> None:
        buffer.insert_text("\n")

    @keys.add(Keys.BracketedPaste, filter=has_focus(buffer))
    def _(event: KeyPressEvent) -> None:
        buffer.insert_text(pastes.fold(with_line_ends(as_unicode(event.data))))


def _add_moves(keys: KeyBindings, buffer: Buffer) -> None:
    """Add the keys that move over a letter with its accents, or delete it."""

    def before() -> int:
        return last_cluster(buffer.document.current_line_before_cursor)

    def after() -> int:
        return first_cluster(buffer.document.current_line_after_cursor)

    is_typing = has_focus(buffer) & ~has_selection
    is_after, is_before = Condition(lambda: before() > 1), Condition(lambda: after() > 1)
    for name in ("left", "c-b"):
        keys.add(name, filter=is_typing & is_after)(lambda _: buffer.cursor_left(before()))
    for name in ("right", "c-f"):
        keys.add(name, filter=is_typing & is_before)(lambda _: buffer.cursor_right(after()))
    for name in ("backspace", "c-h"):
        keys.add(name, filter=is_typing & is_after)(lambda _: _delete_before(buffer, before()))
    for name in ("delete", "c-d"):
        keys.add(name, filter=is_typing & is_before)(lambda _: _delete_after(buffer, after()))


def _delete_before(buffer: Buffer, count: int) -> None:
    buffer.delete_before_cursor(count)


def _delete_after(buffer: Buffer, count: int) -> None:
    buffer.delete(count)


def _is_choosing(buffer: Buffer) -> bool:
    """Return whether one of several completions is selected."""
    state = buffer.complete_state
    return state is not None and state.current_completion is not None and len(state.completions) > 1


def _continue_line(buffer: Buffer) -> None:
    """Begin a line; the backslash before it is removed."""
    buffer.cursor_position = len(buffer.text)
    if not is_quoted(buffer.text) and ends_with_backslash(buffer.text):
        buffer.delete_before_cursor()
    buffer.insert_text("\n")
