"""Transcript: everything that a chat prints between two prompts, and its answers.

Invariant: text of the model, of files and of kept chats passes `harmless` before it reaches the
terminal.
"""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any

from localrun.cli.chatting.prompt.message_text import CONTINUED, PROMPT
from localrun.cli.chatting.screen.answer_view import PlainAnswer, RichAnswer, ViewOptions
from localrun.cli.output import Output, counted, is_terminal
from localrun.cli.rendering.look import PLAIN_LOOK
from localrun.cli.serving.answer import print_dropped, print_figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.cli.chatting.screen.answer_view import AnswerView
    from localrun.cli.chatting.session import Message
    from localrun.cli.rendering.look import TerminalLook
    from localrun.errors import LocalrunError

LATEST = ":latest"
MAX_LINES, MOST_SHOWN = 20, 4000  # lines and characters of a message of a kept chat
FENCE_END = "```\n\n"  # of a document before a message
NUM_SHOWN = 3  # turns of a kept chat


class ChatTranscript:
    """Output of one chat."""

    def __init__(self, *, is_plain: bool = False, look: TerminalLook = PLAIN_LOOK) -> None:
        self._output = Output()
        self._status_kind = ""
        self._is_plain = is_plain or not is_terminal(sys.stdout)
        self._look = look
        self._view: AnswerView | None = None
        self._shows_thoughts = False  # as they arrive, since Ctrl-O
        self.folded_text = ""  # the last, for Ctrl-O at the prompt

    def note(self, text: str) -> None:
        """Print a message of the program."""
        self._output.note(text)

    def aside(self, text: str) -> None:
        """Print a dim message of the program."""
        (self._output.note if self._is_plain else self._output.aside)(text)

    def heading(self, model: str) -> None:
        """Print which model answers next, where two do."""
        self.aside(f"{model.removesuffix(LATEST)}:")

    def error(self, error: LocalrunError) -> None:
        """Print an error and its hint."""
        self._output.error(error)

    def text(self, text: str) -> None:
        """Print a text that the user asked for, such as a template."""
        self._output.text(text)

    def send(self, sequence: str) -> None:
        """Send an escape sequence of this program to the terminal."""
        self._output.page(sequence)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print aligned columns."""
        self._output.table(heads, rows)

    def status(self, text: str) -> None:
        """Print a line that the next output replaces; "" clears it.

        A plain chat prints one line that stays for each kind of status.
        """
        if not self._is_plain:
            self._output.status(text)
            return
        kind = " ".join(text.split()[:2])  # without the bar
        if kind and kind != self._status_kind:
            self._output.note(f"({kind}...)")
        self._status_kind = kind

    def begin_answer(self, *, hides_thoughts: bool = False, wraps_words: bool = True) -> None:
        """Begin an answer."""
        if self._is_plain:
            self._view = PlainAnswer(self._output.page, hides_thoughts=hides_thoughts)
            return
        options = ViewOptions(
            width=lambda: shutil.get_terminal_size().columns,
            look=self._look,
            hides_thoughts=hides_thoughts,
            is_unfolded=self._shows_thoughts,
            wraps=wraps_words,
        )
        self._view = RichAnswer(self._output.page, options)

    def thought(self, text: str) -> None:
        """Print a piece of a thought."""
        if self._view is not None:
            self._view.thought(text)

    def content(self, text: str) -> None:
        """Print a piece of an answer."""
        if self._view is not None:
            self._view.content(text)

    def end_answer(self) -> None:
        """End the lines of an answer; does nothing if none has begun."""
        view, self._view = self._view, None
        if view is not None:
            view.finish()
            self.folded_text = view.folded_text or self.folded_text

    def toggle_fold(self) -> None:
        """Fold or unfold the thoughts of answers; another thread may call it."""
        view = self._view
        self._shows_thoughts = not self._shows_thoughts
        if view is not None:
            view.toggle_fold()

    def unfold(self) -> None:
        """Print the text that was folded last."""
        if self.folded_text:
            self.aside(self.folded_text)
        else:
            self.aside("(nothing is folded)")

    def history(self, messages: Sequence[Message]) -> None:
        """Print earlier messages as they looked: of a recipe, or of a kept chat."""
        for message in messages:
            text = str(message.get("content") or "")
            if message["role"] == "user":
                shown = shown_text(message)
                self._output.text(PROMPT + shown.replace("\n", f"\n{CONTINUED}"))
            elif message["role"] == "assistant" and text:
                self.begin_answer()
                self.content(text)
                self.end_answer()
            elif message["role"] == "summary":
                self.aside("(a summary of older turns)")

    def last_turns(self, messages: Sequence[Message]) -> None:
        """Print the last turns of a kept chat, and how many are not shown."""
        starts = [index for index, one in enumerate(messages) if one["role"] == "user"]
        start = starts[-NUM_SHOWN] if len(starts) > NUM_SHOWN else 0
        if start:
            self.aside(f"({counted(len(starts) - NUM_SHOWN, 'earlier turn')} not shown)")
        self.history(messages[start:])

    def folded(self, line: str, text: str) -> None:
        """Print a line for a text that is not shown until it is unfolded."""
        self.aside(line)
        self.folded_text = text

    def figures(self, figures: dict[str, Any]) -> None:
        """Print token counts and rates of an answer."""
        print_figures(figures, self._output)
        first_token_s = figures.get("first_token_s")
        if first_token_s is not None:
            self._output.note(f"{'time to first token:':22}{first_token_s:.3f} s")
        cached = figures.get("prompt_eval_cached_count")
        if cached is not None:
            self._output.note(f"{'cached tokens:':22}{cached} tokens")

    def dropped(self, figures: dict[str, Any]) -> None:
        """Print what the server left out because the context is full, if anything."""
        print_dropped(figures, self._output)


def shown_text(message: Message) -> str:
    """Return a message of the user as it was typed; only the first lines of a long one."""
    text = str(message.get("typed") or message.get("content") or "")
    names = message.get("attachments") or ()
    if names and "typed" not in message:  # a kept chat has the content, documents first
        text = f"({', '.join(names)})\n{text.rpartition(FENCE_END)[2]}"
    lines = text[:MOST_SHOWN].splitlines()
    num_more = text.count("\n") + 1 - MAX_LINES
    if num_more > 0:
        return "\n".join((*lines[:MAX_LINES], f"({counted(num_more, 'more line')})"))
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]} ..."
