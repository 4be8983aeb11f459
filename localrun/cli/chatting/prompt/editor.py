"""Line editor of a chat on prompt_toolkit.

The prompt redraws its own lines only. When a message is sent, the prompt is erased and the message
is printed as plain text, once. Between prompts the terminal has its usual modes, except while an
answer is printed (`key_watch`). What is typed meanwhile is fed to the next prompt.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import TYPE_CHECKING

from localrun.cli.chatting.prompt.choosing import ask_by_key, ask_by_line
from localrun.cli.chatting.prompt.external_editor import edit_text
from localrun.cli.chatting.prompt.interrupts import orderly_end
from localrun.cli.chatting.prompt.key_watch import READ_BYTES, watched_keys
from localrun.cli.chatting.prompt.line.prompt import LinePrompt
from localrun.cli.chatting.prompt.message_text import as_shown, as_unicode, unquoted, with_line_ends
from localrun.cli.chatting.prompt.modes import HAS_KEYS, quiet_keys, restored_modes
from localrun.cli.chatting.prompt.pastes import FoldedPastes
from localrun.cli.chatting.prompt.typed_keys import TypedKeys
from localrun.cli.output import Output
from localrun.errors import LocalrunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from localrun.cli.chatting.prompt.composer import ComposerOptions, KeyChoice

KEY_BYTES = 64


class LineComposer:
    """Composer with a line editor."""

    def __init__(self, options: ComposerOptions) -> None:
        self._environ = options.environ
        self._keys = TypedKeys()
        self._pastes = FoldedPastes()
        self._prompt = LinePrompt(options, self._pastes)

    def read(self, initial: str = "") -> str:
        """Return the next message."""
        text = self._pastes.fold(with_line_ends(initial)) if initial else ""
        while True:
            self._prompt.type_ahead(self._keys.take())
            with orderly_end(), restored_modes(sys.stdin.fileno()):
                end = self._prompt.run(text)
            text = end.text
            if not end.wants_editor:
                Output().text(as_shown(self._pastes.label(text)) + "\n")
                return as_unicode(unquoted(self._pastes.expand(text)))
            text = self._edited(text)

    def edit(self, text: str) -> str:
        """Return the text after the user's editor has closed."""
        return edit_text(text, self._environ)

    def choose(self, question: str, choices: Sequence[KeyChoice]) -> str:
        """Return the key of the chosen answer."""
        if not HAS_KEYS:
            return ask_by_line(question, choices)
        descriptor = sys.stdin.fileno()
        with orderly_end(), quiet_keys(descriptor):
            while select.select([descriptor], [], [], 0)[0]:  # typed before the question
                if not (content := os.read(descriptor, READ_BYTES)):
                    break
                self._keys.feed(content)
            return ask_by_key(question, choices, lambda: _read_key(descriptor))

    @contextlib.contextmanager
    def answering(self, on_fold: Callable[[], None]) -> Iterator[None]:
        """Watch the keys while an answer is printed."""
        with orderly_end(), watched_keys(self._keys, on_fold):
            yield

    def close(self) -> None:
        """Do nothing: the modes are restored after each call, the history is written at once."""

    def _edited(self, text: str) -> str:
        """Return the text from the user's editor, the same text if that failed."""
        try:
            return self._pastes.fold(with_line_ends(self.edit(self._pastes.expand(text))))
        except LocalrunError as error:
            Output().error(error)
            return text


def _read_key(descriptor: int) -> str:
    """Return what one key sends.

    Raises:
        EOFError: the terminal was closed.
    """
    content = os.read(descriptor, KEY_BYTES)
    if not content:
        raise EOFError
    return content.decode("utf-8", "replace")
