"""Blocks of code as HTML, highlighted by classes."""

from __future__ import annotations

import html
from functools import lru_cache
from typing import TYPE_CHECKING

from localrun.highlighting import LineLexer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST = 100_000  # characters of a block that is highlighted
LONGEST_NAME = 40  # characters of a language that is shown
CLASSES = (  # of token types, the first that is one of them
    ("Comment", "c"),
    ("Keyword", "k"),
    ("Literal.String", "s"),
    ("Literal.Number", "n"),
    ("Name.Function", "f"),
    ("Name.Class", "f"),
    ("Name.Tag", "f"),
    ("Name.Decorator", "d"),
    ("Generic.Inserted", "i"),
    ("Generic.Deleted", "x"),
)


def code_html(code: str, language: str, has_time: Callable[[], bool]) -> str:
    """Return a block of code; it is plain from where ``has_time`` returns false."""
    name = html.escape(language[:LONGEST_NAME])
    lines = "".join(_lines(code, language if len(code) <= LONGEST else "", has_time))
    return f'<pre data-language="{name}" tabindex="0"><code>{lines}</code></pre>\n'


def _lines(code: str, language: str, has_time: Callable[[], bool]) -> Iterator[str]:
    lexer = LineLexer(language)
    for line in code.removesuffix("\n").split("\n"):
        if not has_time():
            lexer = LineLexer("")
        for token, piece in lexer.line(line):
            yield _span(_class_of(token), html.escape(piece, quote=False))
        yield "\n"


def _span(name: str, text: str) -> str:
    return f'<span class="{name}">{text}</span>' if name else text


@lru_cache(maxsize=256)
def _class_of(token: str) -> str:
    return next((name for start, name in CLASSES if token.startswith(start)), "")
