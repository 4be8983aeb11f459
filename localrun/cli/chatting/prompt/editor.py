"""Line editor of a chat on prompt_toolkit.

The prompt redraws its own lines only. When a message is sent, the prompt is erased and the message
is printed as plain text, once. From the first prompt to `close` the terminal does not echo
(`modes`), and what is typed meanwhile is fed to the next prompt.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import TYPE_CHECKING

from localrun.cli.chatting.prompt.choosing import ask_by_key, ask_by_line
from localrun.cli.chatting.prompt.external_editor import edit_text
from localrun.cli.chatting.prompt.interrupts import Interrupts, orderly_end
from localrun.cli.chatting.prompt.key_watch import READ_BYTES, KeyWatch
from localrun.cli.chatting.prompt.line.prompt import EditEnd, LinePrompt
from localrun.cli.chatting.prompt.message_text import as_shown, as_unicode, unquoted, with_line_ends
from localrun.cli.chatting.prompt.modes import HAS_KEYS, TerminalModes
from localrun.cli.chatting.prompt.pastes import FoldedPastes
from localrun.cli.chatting.prompt.typed_keys import TypedKeys
from localrun.cli.output import Output
from localrun.errors import LocalrunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from localrun.cli.chatting.prompt.composer import ComposerOptions, KeyChoice

KEY_BYTES = 64


class LineComposer:
    """Composer with a line editor."""

    def __init__(self, options: ComposerOptions) -> None:
        self._environ = options.environ
        self._keys = TypedKeys()
        self._pastes = FoldedPastes()
        self._interrupts = Interrupts()
        self._prompt = LinePrompt(options, self._pastes, self._interrupts)
        self._watch: KeyWatch | None = None
        self._end = contextlib.ExitStack()
        self._end.enter_context(self._interrupts.installed())
        with self._interrupts.held():
            self._modes = TerminalModes(sys.stdin.fileno())
            self._end.callback(self._modes.close)
            self._end.enter_context(orderly_end())

    def read(self, initial: str = "") -> str:
        """Return the next message."""
        text = self._pastes.fold(with_line_ends(initial)) if initial else ""
        with self._interrupts.held():
            while (end := self._run_prompt(text)).wants_editor:
                text = self._edited(end.text)
            Output().text(as_shown(self._pastes.label(end.text)) + "\n")
            return as_unicode(unquoted(self._pastes.expand(end.text)))

    def edit(self, text: str) -> str:
        """Return the text after the user's editor has closed."""
        with (
            self._interrupts.held(),
            self._interrupts.given_to(lambda: None),  # Ctrl-C is a key of the editor
            self._unwatched(),
            self._modes.usual(),
        ):
            return edit_text(text, self._environ)

    def choose(self, question: str, choices: Sequence[KeyChoice]) -> str:
        """Return the key of the chosen answer."""
        with self._interrupts.held():
            if not HAS_KEYS:
                return ask_by_line(question, choices, self._read_line)
            with self._unwatched(), self._modes.quiet():
                self._keep_typed()  # before the question
                return ask_by_key(question, choices, self._read_key)

    @contextlib.contextmanager
    def answering(self, on_fold: Callable[[], None]) -> Iterator[None]:
        """Watch the keys while an answer is printed."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._interrupts.held())
            if HAS_KEYS:
                stack.enter_context(self._modes.quiet())
                stack.enter_context(self._watched(on_fold))
            stack.enter_context(self._interrupts.allowed())
            yield

    def close(self) -> None:
        """Restore the terminal."""
        with self._interrupts.held():
            self._end.close()

    def _run_prompt(self, text: str) -> EditEnd:
        """Show the prompt until the user ends it; an interrupt that follows is noted.

        It is raised in the answer to the message.
        """
        with self._unwatched(), self._modes.line_editor():
            self._prompt.type_ahead(self._keys.take())
            end = self._prompt.run(text)
            if self._prompt.pop_typed_interrupt():
                self._interrupts.note()
            return end

    @contextlib.contextmanager
    def _watched(self, on_fold: Callable[[], None]) -> Iterator[None]:
        watch = KeyWatch(self._modes.descriptor, self._keys, on_fold)
        watch.start()
        self._watch = watch
        try:
            yield
        finally:
            self._watch = None
            watch.stop()

    def _unwatched(self) -> AbstractContextManager[None]:
        """Return a context in which no other thread reads the keys."""
        return contextlib.nullcontext() if self._watch is None else self._watch.paused()

    def _keep_typed(self) -> None:
        """Keep for the next prompt what has been typed until now."""
        while select.select([self._modes.descriptor], [], [], 0)[0]:
            if not (content := os.read(self._modes.descriptor, READ_BYTES)):
                return
            self._keys.feed(content)

    def _read_key(self) -> str:
        """Return what one key sends; blocks.

        Raises:
            EOFError: the terminal was closed.
            KeyboardInterrupt: the user interrupts.
        """
        with self._interrupts.allowed():
            content = os.read(self._modes.descriptor, KEY_BYTES)
        if not content:
            raise EOFError
        return content.decode("utf-8", "replace")

    def _read_line(self) -> str:
        """Return a line of stdin, "" at its end; blocks.

        Raises:
            KeyboardInterrupt: the user interrupts.
        """
        with self._interrupts.allowed():
            return sys.stdin.readline()

    def _edited(self, text: str) -> str:
        """Return the text from the user's editor, the same text if that failed."""
        try:
            return self._pastes.fold(with_line_ends(self.edit(self._pastes.expand(text))))
        except LocalrunError as error:
            Output().error(error)
            return text
