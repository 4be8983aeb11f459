"""Writer of an open block of code: highlighted lines with nothing to their left or right.

A line is held back until it is complete, or too long to be highlighted in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.rendering.highlighting import Highlighter
from localrun.cli.rendering.look import Style, styled

if TYPE_CHECKING:
    from localrun.cli.rendering.fences import Fence
    from localrun.cli.rendering.look import TerminalLook

LONGEST_CODE = 4000  # characters of a line of code that are held back
END = Style(is_dim=True)


class CodeWriter:
    """Writer of one block; appends to ``parts``."""

    def __init__(self, fence: Fence, look: TerminalLook, parts: list[str]) -> None:
        self._fence = fence
        self._look = look
        self._parts = parts
        is_colored = look.has_styles and look.has_color
        self._highlighter = Highlighter(fence.language if is_colored else "")
        self._line: list[str] = []
        self._length = 0
        self._is_cut = False  # the beginning of the line is written

    @property
    def has_line(self) -> bool:
        """Return whether a line has begun."""
        return bool(self._line) or self._is_cut

    @property
    def is_left(self) -> bool:
        """Return whether the line is outside the quote that the block is in."""
        if not self._fence.num_quotes or self._is_cut:
            return False
        return self._fence.code("".join(self._line)) is None

    def add(self, text: str) -> None:
        """Add a part of a line."""
        self._line.append(text)
        self._length += len(text)
        if self._length > LONGEST_CODE:
            self._parts.append(self._code())
            self._is_cut = True

    def end_line(self) -> bool:
        """Write the line; return whether it ends the block."""
        code = self._code()
        if self._is_cut:
            self._parts.append(f"{code}\n")
            self._is_cut = False
            return False
        if self._fence.is_closed_by(code):
            self._parts.append(styled(code.strip(), END, self._look) + "\n")
            return True
        for style, piece in self._highlighter.line(code):
            self._parts.append(styled(piece, style, self._look))
        self._parts.append("\n")
        return False

    def take(self) -> str:
        """Return the line, and forget it."""
        text = "".join(self._line)
        self._line, self._length = [], 0
        return text

    def _code(self) -> str:
        """Take the line as code; a part behind the beginning is code already."""
        text = self.take()
        code = None if self._is_cut else self._fence.code(text)
        return text if code is None else code
