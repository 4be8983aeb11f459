"""Styles of highlighted code in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.rendering.look import NO_STYLE, Style
from localrun.highlighting import LineLexer

if TYPE_CHECKING:
    from collections.abc import Iterator

BLUE, GREEN, MAGENTA, YELLOW = "34", "32", "35", "33"
STYLES = (  # of token types, the first that is one of them
    ("Comment", Style(is_dim=True)),
    ("Keyword", Style(color=MAGENTA)),
    ("Literal.String", Style(color=GREEN)),
    ("Literal.Number", Style(color=YELLOW)),
    ("Name.Function", Style(color=BLUE)),
    ("Name.Class", Style(color=BLUE)),
    ("Name.Decorator", Style(color=YELLOW)),
    ("Name.Tag", Style(color=BLUE)),
    ("Generic.Inserted", Style(color=GREEN)),
    ("Generic.Deleted", Style(color="31")),
)


class Highlighter:
    """Highlighter of one block of code."""

    def __init__(self, language: str) -> None:
        self._lexer = LineLexer(language)
        self._styles: dict[str, Style] = {"": NO_STYLE}

    def line(self, text: str) -> Iterator[tuple[Style, str]]:
        """Yield the pieces of the next line, which has no line end."""
        for token, piece in self._lexer.line(text):
            yield self._style(token), piece

    def _style(self, token: str) -> Style:
        if token not in self._styles:
            styles = (style for start, style in STYLES if token.startswith(start))
            self._styles[token] = next(styles, NO_STYLE)
        return self._styles[token]
