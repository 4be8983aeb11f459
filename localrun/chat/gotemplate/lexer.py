"""Lexer of Go templates, with the positions and errors of their source.

Text outside of ``{{ }}`` is one token, already trimmed by trim marks; comments give no token.
Space inside of actions is a token because it has a meaning: ``.A.B`` is one operand and ``.A .B``
are two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SOURCE_CHARS = 256 * 1024  # the library's longest are some 10 KB
BLANK = " \t\r\n"
HINT = "write TEMPLATE in Jinja, or leave it out: the template in the GGUF is used then"


@dataclass(frozen=True, slots=True)
class TemplatePosition:
    """A position in a template's source; line and column begin at 1."""

    line: int
    column: int


class GoTemplateError(UsageError):
    """A Go template that is malformed, or has no equivalent in Jinja."""

    code = "invalid_template"

    def __init__(self, problem: str, position: TemplatePosition) -> None:
        super().__init__(
            f"the Go template cannot be converted: line {position.line}, "
            f"column {position.column}: {problem}",
            hint=HINT,
        )
        self.line = position.line
        self.column = position.column


class TokenKind(StrEnum):
    """The kind of a token; its value is the text in messages."""

    TEXT = "text"
    OPEN = "{{"
    CLOSE = "}}"
    SPACE = "space"
    NUMBER = "number"
    FIELD = "field"
    DOT = "."
    VARIABLE = "variable"
    WORD = "word"
    STRING = "string"
    RAW = "raw string"
    CHAR = "character"
    DECLARE = ":="
    ASSIGN = "="
    PIPE = "|"
    COMMA = ","
    LEFT = "("
    RIGHT = ")"
    END = "end of the template"


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its offset in the source."""

    kind: TokenKind
    text: str
    offset: int


_PATTERNS = {
    TokenKind.SPACE: r"[ \t\r\n]+",
    TokenKind.NUMBER: (
        r"[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+"
        r"|(?:[0-9][0-9_]*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    ),
    TokenKind.FIELD: r"\.[^\W\d]\w*",
    TokenKind.DOT: r"\.",
    TokenKind.VARIABLE: r"\$\w*",
    TokenKind.WORD: r"[^\W\d]\w*",
    TokenKind.STRING: r'"(?:[^"\\\n]|\\.)*"',
    TokenKind.RAW: r"`[^`]*`",
    TokenKind.CHAR: r"'(?:[^'\\\n]|\\.)+'",
    TokenKind.DECLARE: r":=",
    TokenKind.ASSIGN: r"=",
    TokenKind.PIPE: r"\|",
    TokenKind.COMMA: r",",
    TokenKind.LEFT: r"\(",
    TokenKind.RIGHT: r"\)",
}
_TOKEN = re.compile("|".join(f"(?P<{kind.name}>{shape})" for kind, shape in _PATTERNS.items()))
_ENDS_ITSELF = frozenset(" \t\r\n.,|:()=")
_NEEDS_AN_END = frozenset({TokenKind.NUMBER, TokenKind.FIELD, TokenKind.VARIABLE, TokenKind.WORD})


def tokens(source: str) -> list[Token]:
    """Return the template's tokens, the last of which is END.

    Raises:
        GoTemplateError: the source is too long, or contains an invalid token.
    """
    if len(source) > MAX_SOURCE_CHARS:
        problem = f"it is longer than {MAX_SOURCE_CHARS} characters"
        raise GoTemplateError(problem, position_of(source, 0))
    return [*_Lexer(source).run(), Token(TokenKind.END, "", len(source))]


def position_of(source: str, offset: int) -> TemplatePosition:
    """Return the position of an offset."""
    return TemplatePosition(
        source.count("\n", 0, offset) + 1, offset - source.rfind("\n", 0, offset)
    )


class _Lexer:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._trims_next = False

    def run(self) -> Iterator[Token]:
        while (opening := self._source.find("{{", self._at)) >= 0:
            trims = self._is_trim_mark(opening + 2)
            yield from self._text(opening, trims_end=trims)
            self._trims_next = False
            self._at = opening + (4 if trims else 2)
            if self._source.startswith("/*", self._at):
                self._skip_comment(opening)
            else:
                yield Token(TokenKind.OPEN, "{{", opening)
                yield from self._action(opening)
        yield from self._text(len(self._source), trims_end=False)

    def _is_trim_mark(self, offset: int) -> bool:
        return self._source[offset : offset + 1] == "-" and (
            self._source[offset + 1 : offset + 2] in set(BLANK)
        )

    def _text(self, end: int, *, trims_end: bool) -> Iterator[Token]:
        text = self._source[self._at : end]
        if self._trims_next:
            text = text.lstrip(BLANK)
        if trims_end:
            text = text.rstrip(BLANK)
        if text:
            yield Token(TokenKind.TEXT, text, self._at)

    def _skip_comment(self, opening: int) -> None:
        end = self._source.find("*/", self._at + 2)
        if end < 0:
            self._fail("the comment is never closed", opening)
        self._at = end + 2
        if not self._close():
            self._fail("the comment ends before the action does", end)

    def _action(self, opening: int) -> Iterator[Token]:
        while not (closing := self._close()):
            if self._at >= len(self._source):
                self._fail("the action is never closed", opening)
            yield self._token()
        yield Token(TokenKind.CLOSE, closing, self._at - len(closing))

    def _close(self) -> str:
        """Move behind the action's end and return it; empty if the action goes on."""
        for mark in ("}}", *(f"{blank}-}}}}" for blank in BLANK)):
            if self._source.startswith(mark, self._at):
                self._at += len(mark)
                self._trims_next = mark != "}}"
                return mark
        return ""

    def _token(self) -> Token:
        match = _TOKEN.match(self._source, self._at)
        if match is None:
            self._fail(f"unexpected {self._source[self._at]!r}", self._at)
        kind, text, begin = TokenKind[str(match.lastgroup)], match[0], self._at
        if kind is TokenKind.SPACE and self._source.startswith("-}}", match.end()):
            text = text[:-1]  # its last character belongs to the trim mark
            if not text:
                self._fail("unexpected '-'", begin)
        self._at += len(text)
        following = self._source[self._at : self._at + 1]
        ends = following in _ENDS_ITSELF or self._source.startswith("}}", self._at)
        if kind in _NEEDS_AN_END and following and not ends:
            self._fail(f"unexpected {following!r} after {text!r}", self._at)
        return Token(kind, text, begin)

    def _fail(self, problem: str, offset: int) -> NoReturn:
        raise GoTemplateError(problem, position_of(self._source, offset))
