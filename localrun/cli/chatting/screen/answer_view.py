"""View of one answer: its thoughts, folded to one line, and its text as rendered Markdown.

While the model thinks, the last line of the screen shows the end of the thought; when it has
finished, the line becomes final: "thought for 3.2 s, 214 words". Unfolding prints the thought
below, because what is on the screen is final. Invariants: at most the last line is ever written
again, and only until it is final; text of the model has no control characters.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from localrun.cli.output import counted
from localrun.cli.rendering.line_writer import cells
from localrun.cli.rendering.look import DIM, RESET
from localrun.cli.rendering.markdown_stream import MarkdownStream
from localrun.terminal import harmless, harmless_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.cli.rendering.look import TerminalLook

CLEAR_LINE = "\r\033[K"
STATUS_WIDTH = 76  # cells of the end of a thought, at most
NARROWEST = 10
THINKING = "thinking: "
UNFOLDS = "; Ctrl-O shows it)"
DIM_CODE = f"\033[{DIM}m"
TAIL = 400  # characters of a thought that a status line may need


class AnswerView(Protocol):
    """What an answer is shown on."""

    @property
    def folded_text(self) -> str:
        """Return the thought, empty if there is none."""

    def thought(self, text: str) -> None:
        """Add a piece of the thought."""

    def content(self, text: str) -> None:
        """Add a piece of the text."""

    def toggle_fold(self) -> None:
        """Fold or unfold the thought; may be called by another thread."""

    def finish(self) -> None:
        """End the answer; the cursor is then at the beginning of a line."""


class PlainAnswer:
    """Answer as it is, for ``--plain`` and simple terminals; thoughts between two lines."""

    def __init__(self, write: Callable[[str], None], *, hides_thoughts: bool = False) -> None:
        self._write = write
        self._hides_thoughts = hides_thoughts
        self._is_thinking = False
        self._is_line_open = False
        self._thought: list[str] = []

    @property
    def folded_text(self) -> str:
        """Return the thought, empty if there is none."""
        return "".join(self._thought)

    def thought(self, text: str) -> None:
        """Add a piece of the thought."""
        self._thought.append(text)
        if self._hides_thoughts:
            return
        if not self._is_thinking:
            self._put("Thinking...\n")
            self._is_thinking = True
        self._put(harmless(text))

    def content(self, text: str) -> None:
        """Add a piece of the text."""
        self._end_thought()
        self._put(harmless(text))

    def toggle_fold(self) -> None:
        """Do nothing: all thoughts are shown."""

    def finish(self) -> None:
        """End the answer; the cursor is then at the beginning of a line."""
        self._end_thought()
        if self._is_line_open:
            self._put("\n")

    def _end_thought(self) -> None:
        if self._is_thinking:
            self._put("\n...done thinking.\n\n" if self._is_line_open else "...done thinking.\n\n")
            self._is_thinking = False

    def _put(self, text: str) -> None:
        if text:
            self._write(text)
            self._is_line_open = not text.endswith("\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewOptions:
    """How an answer is rendered; ``width`` returns the columns of the terminal now."""

    width: Callable[[], int]
    look: TerminalLook
    hides_thoughts: bool = False
    is_unfolded: bool = False  # thoughts are printed as they arrive
    wraps: bool = True


class RichAnswer:
    """Answer as rendered Markdown, with its thought folded."""

    def __init__(
        self,
        write: Callable[[str], None],
        options: ViewOptions,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._width = options.width
        self._look = options.look
        self._hides_thoughts = options.hides_thoughts
        self._is_unfolded = self._wants_unfolded = options.is_unfolded
        self._clock_s = clock_s
        self._thought: list[str] = []
        self._tail = ""
        self._num_shown = 0  # pieces of the thought that are printed
        self._began_s: float | None = None  # of the thought that goes on
        self._is_line_open = self._has_status = False
        width: Callable[[], int | None] = options.width if options.wraps else lambda: None
        self._markdown = MarkdownStream(write, width=width, look=options.look)

    @property
    def folded_text(self) -> str:
        """Return the thought, empty if there is none."""
        return "".join(self._thought)

    def thought(self, text: str) -> None:
        """Add a piece of the thought."""
        if not text:
            return
        if self._began_s is None:
            self._markdown.finish()  # the status line must not replace text before it
            self._began_s = self._clock_s()
        self._thought.append(text)
        self._tail = (self._tail + text)[-TAIL:]
        if not self._hides_thoughts:
            self._show_thought()

    def content(self, text: str) -> None:
        """Add a piece of the text."""
        if text:
            self._end_thought()
            self._markdown.feed(text)

    def toggle_fold(self) -> None:
        """Fold or unfold the thought; may be called by another thread."""
        self._wants_unfolded = not self._wants_unfolded

    def finish(self) -> None:
        """End the answer; the cursor is then at the beginning of a line."""
        self._end_thought()
        self._markdown.finish()

    def _show_thought(self) -> None:
        if self._wants_unfolded != self._is_unfolded:
            self._end_status()
            self._end_line()
            self._is_unfolded = self._wants_unfolded
        if self._is_unfolded:
            text = "".join(self._thought[self._num_shown :])
            self._num_shown = len(self._thought)
            self._put_dim(harmless(text))
            self._is_line_open = not text.endswith("\n")
        elif self._look.has_styles:
            self._write(f"{CLEAR_LINE}{DIM_CODE}{self._status()}{RESET}")
            self._has_status = True

    def _status(self) -> str:
        """Return the end of the thought, as much as fits on a line."""
        room = max(NARROWEST, min(self._width() - 1, STATUS_WIDTH)) - len(THINKING)
        words = harmless_line(" ".join(self._tail.split()))
        while cells(words) > room:
            words = words[max(1, (cells(words) - room) // 2) :]
        return THINKING + words

    def _end_thought(self) -> None:
        if self._began_s is None:
            return
        seconds, self._began_s, self._tail = self._clock_s() - self._began_s, None, ""
        self._end_status()
        self._end_line()
        if self._hides_thoughts:
            return
        words = counted(len(self.folded_text.split()), "word")
        note = f"(thought for {seconds:.1f} s, {words}"
        has_room = len(note) + len(UNFOLDS) < self._width()
        self._put_dim(note + (UNFOLDS if has_room and not self._is_unfolded else ")"))
        self._write("\n\n")

    def _end_status(self) -> None:
        if self._has_status:
            self._write(CLEAR_LINE)
            self._has_status = False

    def _end_line(self) -> None:
        if self._is_line_open:
            self._write("\n")
            self._is_line_open = False

    def _put_dim(self, text: str) -> None:
        self._write(f"{DIM_CODE}{text}{RESET}" if self._look.has_styles else text)
