"""Prompt of the line editor: reads one message by a prompt_toolkit application.

The application never asks the terminal for the position of the cursor: the reply would be delayed
over ssh, and could end up in the text that is typed ahead.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import merge_key_bindings
from prompt_toolkit.key_binding.bindings.auto_suggest import load_auto_suggest_bindings
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth, create_output
from prompt_toolkit.output.vt100 import Vt100_Output

from localrun.cli.chatting.prompt.completion.candidates import completions_of, may_complete
from localrun.cli.chatting.prompt.line.completer import ChatCompleter
from localrun.cli.chatting.prompt.line.keys import prompt_keys
from localrun.cli.chatting.prompt.line.layout import STYLE, prompt_layout
from localrun.cli.chatting.prompt.line.recalled import LineHistory
from localrun.cli.chatting.prompt.line.reflow import added_rows, wraps_again
from localrun.cli.chatting.prompt.line.toolbar import Toolbar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.input import Input
    from prompt_toolkit.layout.screen import Char
    from prompt_toolkit.output import Output

    from localrun.cli.chatting.prompt.composer import ComposerOptions
    from localrun.cli.chatting.prompt.interrupts import Interrupts
    from localrun.cli.chatting.prompt.pastes import FoldedPastes

LEAVE_HINT = "press Ctrl-C again or Ctrl-D to leave"
ESCAPE_TIMEOUT_S, SEQUENCE_TIMEOUT_S = 0.06, 0.5  # of an Esc in a sequence, and before a key


@dataclass(frozen=True, slots=True)
class EditEnd:
    """The text of a prompt at its end, with folded pastes."""

    text: str
    wants_editor: bool = False


class PromptApplication(Application[EditEnd]):
    """Application that finds its first line after the terminal has wrapped lines again."""

    wraps_again = False

    def _on_resize(self) -> None:
        screen = self.renderer.last_rendered_screen
        if self.wraps_again and screen is not None:
            cursor = self.renderer._cursor_pos  # noqa: SLF001 - there is no other way
            widths = [_width(screen.data_buffer[row]) for row in range(cursor.y + 1)]
            columns = self.output.get_size().columns
            self.output.cursor_up(added_rows(widths, cursor.x, columns))
        super()._on_resize()


class LinePrompt:
    """One prompt after the other, with a common history."""

    def __init__(
        self,
        options: ComposerOptions,
        pastes: FoldedPastes,
        interrupts: Interrupts,
    ) -> None:
        source, folder = options.completion, Path.cwd()
        self._toolbar = Toolbar(options.toolbar)
        self._interrupts = interrupts
        self._is_leaving = False
        self._buffer = Buffer(
            multiline=True,
            history=LineHistory(options.history_file, pastes, options.keeps_history),
            auto_suggest=AutoSuggestFromHistory(),
            completer=ChatCompleter(lambda text: completions_of(text, source, folder)),
            complete_while_typing=Condition(self._may_complete),
            on_text_changed=lambda _: self._stay(),
        )
        keys = prompt_keys(self._buffer, pastes, self, options)
        self._input, output = _open_terminal()
        self._application = PromptApplication(
            layout=prompt_layout(self._buffer, pastes, self._toolbar_fragments),
            style=STYLE,
            include_default_pygments_style=False,
            key_bindings=merge_key_bindings([load_auto_suggest_bindings(), keys]),
            color_depth=ColorDepth.DEPTH_1_BIT if "NO_COLOR" in options.environ else None,
            erase_when_done=True,
            terminal_size_polling_interval=None if sys.platform != "win32" else 0.5,
            input=self._input,
            output=output,
        )
        self._application.wraps_again = wraps_again(options.environ)
        self._application.ttimeoutlen = ESCAPE_TIMEOUT_S
        self._application.timeoutlen = SEQUENCE_TIMEOUT_S

    def run(self, text: str) -> EditEnd:
        """Show the prompt with a text that the user can edit; return the text at its end. Blocks.

        Raises:
            EOFError: the user leaves.
        """
        self._toolbar.refresh()
        self._buffer.reset(Document(text, len(text)))
        self._stay()
        with self._interrupts.given_to(self._press_interrupt):
            return self._application.run(handle_sigint=False)

    def type_ahead(self, content: bytes) -> None:
        """Type keys into the next prompt."""
        type_ahead = getattr(self._input, "type_ahead", None)
        if content and type_ahead is not None:
            type_ahead(content)

    def pop_typed_interrupt(self) -> bool:
        """Return whether Ctrl-C was read right behind the key that ended the prompt; forget it."""
        keys = get_typeahead(self._input)
        others = list(dropwhile(lambda key: key.key in {Keys.ControlC, Keys.SIGINT}, keys))
        store_typeahead(self._input, others)
        return len(others) < len(keys)

    def send(self) -> None:
        """End the prompt with its text."""
        self._buffer.append_to_history()
        self._end(EditEnd(self._buffer.text))

    def open_editor(self) -> None:
        """End the prompt, and go on with the text in the user's editor."""
        self._end(EditEnd(self._buffer.text, wants_editor=True))

    def interrupt(self) -> None:
        """Leave if the key was pressed just before; else say how to leave."""
        if self._is_leaving:
            self.leave()
        self._is_leaving = True

    def leave(self) -> None:
        """End the prompt and the chat."""
        self._application.exit(exception=EOFError)

    def suspend(self) -> None:
        """Stop the job, as Ctrl-Z does in other programs."""
        self._stay()
        self._application.suspend_to_background()

    def call(self, act: Callable[[], None]) -> None:
        """Call a function that may print, without the prompt on the screen."""
        run_in_terminal(lambda: self._call(act))

    def _call(self, act: Callable[[], None]) -> None:
        try:
            act()
            self._toolbar.refresh()
        except BaseException as error:  # noqa: BLE001 - it ends the prompt
            self._application.exit(exception=error)

    def _end(self, end: EditEnd) -> None:
        """End the prompt; an interrupt from here on is that of what follows."""
        self._interrupts.stop_giving()
        self._application.exit(result=end)

    def _press_interrupt(self) -> None:
        """Take a signal that came from outside as the key; the handler of the signal calls it."""
        loop = self._application.loop
        if loop is not None:
            loop.call_soon_threadsafe(self._application.key_processor.send_sigint)

    def _stay(self) -> None:
        self._is_leaving = False

    def _may_complete(self) -> bool:
        return may_complete(self._buffer.document.text_before_cursor)

    def _toolbar_fragments(self) -> StyleAndTextTuples:
        if self._is_leaving:
            return [("class:toolbar.hint", LEAVE_HINT)]
        columns = self._application.output.get_size().columns
        return [(style, text) for style, text in self._toolbar.fragments(columns)]


def _width(row: Mapping[int, Char]) -> int:
    """Return the width of a row of the screen without the blanks at its end."""
    return max((column + char.width for column, char in row.items() if char.char != " "), default=0)


def _open_terminal() -> tuple[Input, Output]:
    """Return keys and screen of the terminal."""
    if sys.platform == "win32":
        from prompt_toolkit.input import create_input

        return create_input(), create_output()
    else:  # noqa: RET505 - mypy follows both branches of a platform
        from localrun.cli.chatting.prompt.line.terminal_input import TerminalInput

        output = create_output(sys.stdout)
        if isinstance(output, Vt100_Output):
            output.enable_cpr = False
        return TerminalInput(sys.stdin), output
