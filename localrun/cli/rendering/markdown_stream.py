"""Markdown as text for a terminal, while it streams: what has been written is final.

Lines of text appear word by word. Lines of code, rows of tables and rules appear when they are
complete, a table with its last row. Code has nothing to its left or right, and is not wrapped, so
that a selection copies what the model wrote. Line ends of the text stay line ends.

Invariants: only appends, no cursor moves; what is written does not depend on how the text was cut;
the time is linear in the length of the text. The text has no control characters of its own
(`harmless`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.cli.rendering.code_writer import CodeWriter
from localrun.cli.rendering.fences import Fence
from localrun.cli.rendering.inline import InlineStream
from localrun.cli.rendering.line_writer import LineWriter
from localrun.cli.rendering.lines import LONGEST_HEAD, LineKind, LineStart, decide
from localrun.cli.rendering.look import NO_STYLE, Style, styled
from localrun.cli.rendering.tables import render_table
from localrun.terminal import harmless

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.cli.rendering.look import TerminalLook

MAX_ROWS, MAX_ROW = 500, 4000  # of a table: rows, and characters of one
MAX_INDENT = 24
LONGEST_RULE = 40
DIM = Style(is_dim=True)
HEADING = replace(NO_STYLE, is_bold=True)
TITLE = replace(HEADING, is_underlined=True)


class MarkdownStream:
    """Renderer of one text; ``width`` returns the cells of a line now, None: no wrapping."""

    def __init__(
        self, write: Callable[[str], None], *, width: Callable[[], int | None], look: TerminalLook
    ) -> None:
        self._write_out = write
        self._parts: list[str] = []
        self._width = width
        self._look = look
        self._writer = LineWriter(self._parts.append, width, look)
        self._head = ""  # of a line whose kind is not known
        self._inline: InlineStream | None = None  # of a line of text that has begun
        self._rows: list[str] = []
        self._row = ""
        self._code: CodeWriter | None = None
        self._num_blank = 0  # lines, not written before something follows
        self._has_text = False

    def feed(self, text: str) -> None:
        """Write what is decided by now."""
        first, *others = harmless(text).split("\n")
        self._add(first)
        for line in others:
            self._end_line()
            self._add(line)
        self._write()

    def finish(self) -> None:
        """Write the rest; the output ends with a line end, unless it is empty."""
        if self._head or self._inline or self._row or (self._code and self._code.has_line):
            self._end_line()
        self._end_table()
        self._code = None
        self._num_blank = 0
        self._write()

    def _write(self) -> None:
        if self._parts:
            text = "".join(self._parts)
            self._parts.clear()
            self._write_out(text)

    def _add(self, text: str) -> None:
        """Add a part of a line."""
        if not text:
            return
        if self._code is not None:
            self._code.add(text)
        elif self._inline is not None:
            self._inline.feed(text)
        elif self._row:
            self._add_to_row(text)
        else:
            room = LONGEST_HEAD - len(self._head)
            self._head += text[:room]
            self._decide(is_complete=False)
            self._add(text[room:])

    def _add_to_row(self, text: str) -> None:
        """Add a part of a row; one that is too long for a table is text."""
        room = MAX_ROW - len(self._row)
        self._row += text[:room]
        if len(self._row) == MAX_ROW:
            content, self._row = self._row, ""
            self._begin(LineStart(kind=LineKind.TEXT, content=content))
            self._add(text[room:])

    def _decide(self, *, is_complete: bool) -> None:
        """Begin the line if its kind is known."""
        start = decide(self._head, is_complete=is_complete)
        if start is None or (start.kind is LineKind.FENCE and not is_complete):
            return
        if start.kind is LineKind.ROW and not start.num_quotes:
            self._row, self._head = self._head, ""
            return
        self._head = ""
        self._begin(start)

    def _begin(self, start: LineStart) -> None:
        self._end_table()
        self._end_blanks()
        if start.kind is LineKind.FENCE:
            self._begin_code(start)
        elif start.kind is LineKind.RULE:
            width = self._width()
            self._begin_line(start)
            self._writer.text(DIM, "─" * min(width or LONGEST_RULE, LONGEST_RULE))
        else:
            self._begin_text(start)

    def _begin_text(self, start: LineStart) -> None:
        style = NO_STYLE
        if start.kind is LineKind.HEADING:
            style = TITLE if start.marker == "#" else HEADING
        self._begin_line(start)
        self._inline = InlineStream(self._writer.text, style)
        self._inline.feed(start.content)

    def _begin_line(self, start: LineStart) -> None:
        """Begin a line with its quote marks, indentation and marker."""
        half = (self._width() or MAX_INDENT * 2) // 2  # stays for the text
        quotes = ("│ " * start.num_quotes)[:half]
        blanks = " " * min(start.indent, MAX_INDENT, half - len(quotes))
        marker = ""
        if start.kind is LineKind.ITEM:
            marker = f"{start.marker} " if start.marker[0].isdigit() else "• "
        elif start.kind is LineKind.HEADING and not self._look.has_styles:
            marker = f"{start.marker} "
        indent = len(quotes) + len(blanks) + len(marker)
        bar = styled(quotes, DIM, self._look)
        following = bar + blanks + " " * len(marker)
        self._writer.begin(bar + blanks + marker, following, indent)
        self._has_text = True

    def _begin_code(self, start: LineStart) -> None:
        self._code = CodeWriter(Fence.of(start), self._look, self._parts)
        self._parts.append(styled(start.content.rstrip(), DIM, self._look) + "\n")
        self._has_text = True

    def _end_line(self) -> None:
        if self._code is not None:
            self._end_code_line(self._code)
        elif self._row:
            self._end_row()
        else:
            if self._inline is None:
                self._end_head()
            if self._inline is not None:
                self._inline.finish()
                self._writer.end()
                self._inline = None

    def _end_code_line(self, code: CodeWriter) -> None:
        if code.is_left:
            self._code = None
            self._add(code.take())
            self._end_line()
        elif code.end_line():
            self._code = None

    def _end_head(self) -> None:
        """Begin a line that has ended before its kind was known."""
        if not self._head.strip():
            self._head = ""
            self._end_table()
            self._num_blank += self._has_text
            return
        self._decide(is_complete=True)
        if self._inline is None and self._code is None and not self._row:
            self._writer.end()  # a rule
        elif self._row:
            self._end_row()

    def _end_row(self) -> None:
        self._rows.append(self._row)
        self._row = ""
        if len(self._rows) >= MAX_ROWS:
            self._end_table()

    def _end_table(self) -> None:
        if self._rows:
            rows, self._rows = self._rows, []
            self._end_blanks()
            for line in render_table(rows, self._width(), self._look):
                self._parts.append(line + "\n")
            self._has_text = True

    def _end_blanks(self) -> None:
        self._parts.append("\n" * min(self._num_blank, 2))
        self._num_blank = 0
