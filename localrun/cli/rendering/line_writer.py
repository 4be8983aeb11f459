"""Line writer: styled text, wrapped at the ends of words, that is only ever appended.

A word is written when its end is known, so that it never has to be moved to the next line. Widths
are cells of the terminal: wide characters take two, combining ones none. Text in languages without
blanks may be wrapped between two characters, not before closing punctuation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wcwidth import wcswidth, wcwidth

from localrun.cli.rendering.look import LINK_END, LINK_START, NO_STYLE, RESET

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.cli.rendering.look import Style, TerminalLook

LONGEST_WORD = 200  # characters that are held back
CLOSING = frozenset("。，、．！？；：）」』】》〉…,.!?;:)]}'\"")  # noqa: RUF001 - also those of Chinese and Japanese
WITHOUT_BLANKS = (
    (0x2E80, 0x9FFF),
    (0xA000, 0xA4CF),
    (0xF900, 0xFAFF),
    (0xFF00, 0xFF60),
    (0x20000, 0x3FFFF),
)


class LineWriter:
    """Writer of lines; ``width`` returns the cells of a line now, None: lines are not wrapped."""

    def __init__(
        self, write: Callable[[str], None], width: Callable[[], int | None], look: TerminalLook
    ) -> None:
        self._write = write
        self._width = width
        self._look = look
        self._column = self._indent = 0
        self._following = ""  # begins the wrapped lines
        self._gap = 0  # blanks before the word
        self._word: list[tuple[Style, str]] = []
        self._word_length = 0  # in characters
        self._style = NO_STYLE
        self._target, self._label = "", ""  # of a link whose target will be written behind it
        self.widths: list[int] = []  # of the lines that have ended

    def begin(self, first: str = "", following: str = "", indent: int = 0) -> None:
        """Begin a line with text that may have escape codes and takes ``indent`` cells.

        ``following`` begins the lines that it is wrapped to.
        """
        self._write(first)
        self._following = following
        self._column = self._indent = indent

    def text(self, style: Style, text: str) -> None:
        """Append text without line ends."""
        if not self._look.has_links:
            if style.link != self._target:
                self._end_link()
                self._target = style.link
            if style.link:
                self._label += text
        self._pieces(style, text)

    def end(self) -> None:
        """End the line."""
        self._end_link()
        self._flush()
        self._use(NO_STYLE)
        self._write("\n")
        self.widths.append(self._column)
        self._column = self._gap = 0

    def _end_link(self) -> None:
        target, label = self._target, self._label
        self._target = self._label = ""
        if target and target != label:
            self._pieces(NO_STYLE, f" ({target})")

    def _pieces(self, style: Style, text: str) -> None:
        start = 0
        for position, character in enumerate(text):
            if character in " \t":
                self._add(style, text[start:position])
                self._flush()
                self._gap += 1
                start = position + 1
            elif (
                self._may_break(text, start, position)
                or self._word_length + position - start >= LONGEST_WORD
            ):
                self._add(style, text[start:position])
                self._flush()
                start = position
        self._add(style, text[start:])

    def _may_break(self, text: str, start: int, position: int) -> bool:
        """Return whether a line may end before a character."""
        before = text[position - 1] if position > start else self._last()
        character = text[position]
        if character in CLOSING or wcwidth(character) <= 0:
            return False
        return bool(before) and (_is_without_blanks(before) or _is_without_blanks(character))

    def _last(self) -> str:
        return self._word[-1][1][-1] if self._word else ""

    def _add(self, style: Style, text: str) -> None:
        if not text:
            return
        self._word_length += len(text)
        if self._word and self._word[-1][0] == style:  # an emoji may arrive in parts
            text = self._word.pop()[1] + text
        self._word.append((style, text))

    def _flush(self) -> None:
        """Write the word, on the next line if it does not fit."""
        if not self._word:
            return
        width = self._width()
        needed = self._gap + sum(cells(text) for _, text in self._word)
        if width is not None and self._column + needed > width and self._column > self._indent:
            self._wrap()
        self._blanks()
        for style, text in self._word:
            self._put(style, text, width)
        self._word, self._word_length = [], 0

    def _blanks(self) -> None:
        if self._gap:
            if not self._style.link and not self._style.is_underlined:
                self._write(" " * self._gap)
            else:
                self._between()
            self._column += self._gap
            self._gap = 0

    def _between(self) -> None:
        """Write blanks between two words, in their common style."""
        if self._word and self._word[0][0] != self._style:
            self._use(NO_STYLE)
        self._write(" " * self._gap)

    def _put(self, style: Style, text: str, width: int | None) -> None:
        """Write a piece of a word; one that is wider than a line is cut."""
        self._use(style)
        if width is None or self._column + cells(text) <= width:
            self._write(text)
            self._column += cells(text)
            return
        for character in text:
            size = max(0, wcwidth(character))
            if size and self._column + size > width and self._column > self._indent:
                self._wrap()
                self._use(style)
            self._write(character)
            self._column += size

    def _wrap(self) -> None:
        self._use(NO_STYLE)
        self._write("\n" + self._following)
        self.widths.append(self._column)
        self._column, self._gap = self._indent, 0

    def _use(self, style: Style) -> None:
        if style == self._style:
            return
        if self._look.has_links and self._style.link != style.link:
            self._write(LINK_START.format(style.link) if style.link else LINK_END)
        if self._style.codes(self._look):
            self._write(RESET)
        self._write(style.codes(self._look))
        self._style = style


def cells(text: str) -> int:
    """Return the width of a text in cells of a terminal."""
    if text.isascii():
        return len(text)
    width = wcswidth(text)
    return width if width >= 0 else sum(max(0, wcwidth(character)) for character in text)


def _is_without_blanks(character: str) -> bool:
    code = ord(character)
    return any(first <= code <= last for first, last in WITHOUT_BLANKS)
