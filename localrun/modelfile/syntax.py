"""Lexer of Modelfiles: from text to instructions with their positions.

    KEYWORD value                 FROM, SYSTEM, TEMPLATE, LICENSE, ...; in any case
    PARAMETER name value
    MESSAGE role value
    ADAPTER "path" scale          ours: the scale after a path in quotes
    # a comment, at the beginning of a line

``quoting.py`` has the forms of a value. The lexer accepts what Ollama accepts, with the same
meaning, and also several blanks between words. Ollama stops at the first error; the lexer goes on,
so that ``lint.py`` can report all of them. It takes time linear in the text, and once more for each
problem.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, NoReturn

from localrun.modelfile.instruction import KEYWORDS, NAMING, ROLES, Instruction, Value
from localrun.modelfile.problems import ModelfileError, Problem, problem_at, shown
from localrun.modelfile.quoting import (
    BLANKS,
    BLOCK,
    LEADING,
    block_end,
    closing_fence,
    fence_at,
    past,
    trim_invisible,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.modelfile.source import SourceText

MAX_INSTRUCTIONS = 20_000

NOTHING = re.compile(r"(?:[ \t\r\n]++|#[^\r\n]*+)*+")  # blank lines and comments
WORD = re.compile(r"[A-Za-z]+")
NAME = re.compile(r"[A-Za-z0-9_]+")
BLANK = re.compile(r"[ \t]*+")
SCALED = re.compile(r'"(?P<path>[^"\r\n]*)"[ \t]++(?P<scale>[^\s"]+)[ \t]*+(?=[\r\n]|\Z)')
STATEMENT = re.compile(rf"^[ \t]*+(?:{'|'.join(KEYWORDS)})[ \t]", re.MULTILINE)


def read_instructions(source: SourceText) -> Iterator[Instruction | Problem]:
    """Yield each instruction of a text, or the problem of a malformed one."""
    yield from Lexer(source).items()


class Lexer:
    """An offset in a text that only moves forward."""

    def __init__(self, source: SourceText) -> None:
        self._source = source
        self._text = source.text
        self._offset = 0
        self._never_closed: set[str] = set()  # quotes without a closing behind the offset

    def items(self) -> Iterator[Instruction | Problem]:
        """Yield instructions and problems in order."""
        num_items = 0
        while self._find_statement():
            num_items += 1
            try:
                if num_items > MAX_INSTRUCTIONS:
                    self._give_up()
                yield self._instruction()
            except ModelfileError as error:
                yield error.problem
                self._offset = self._source.line_end(self._offset)

    def _find_statement(self) -> bool:
        """Move to the next instruction; return False at the end of the text."""
        while True:
            self._skip(NOTHING)
            start = self._offset
            self._skip(LEADING)
            if self._offset == start:
                return self._offset < len(self._text)

    def _give_up(self) -> NoReturn:
        start, self._offset = self._offset, len(self._text)
        self._fail(start, "too-long", f"more than {MAX_INSTRUCTIONS} instructions")

    def _instruction(self) -> Instruction:
        start = self._offset
        word = self._take(WORD)
        keyword = word.upper()
        if keyword not in KEYWORDS:
            self._fail_keyword(start, word)
        extra_start, extra = self._extra(keyword)
        value = self._value(keyword, f"{keyword} {extra}" if extra else keyword)
        self._offset = value.end
        if keyword == "MESSAGE" and extra not in ROLES:
            self._fail(extra_start, "bad-role", f"not a role: {extra}", "system, user or assistant")
        return Instruction(
            keyword=keyword,
            value=value.text,
            extra=extra or value.extra,
            is_plain=value.is_plain,
            source=self._source,
            start=start,
            extra_start=extra_start if extra else value.extra_start,
            value_start=value.start,
            end=value.end,
        )

    def _fail_keyword(self, start: int, word: str) -> NoReturn:
        """Raise the problem of an unknown instruction, behind its value."""
        near = difflib.get_close_matches(word.upper()[:20], KEYWORDS, n=1)
        if word and self._peek() in BLANKS:
            try:
                self._offset = self._value("", word).end
            except ModelfileError:
                self._offset = self._source.line_end(self._offset)
        name = word or self._text[start]
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(KEYWORDS)}"
        self._fail(start, "unknown-instruction", f"not an instruction: {shown(name)}", hint)

    def _extra(self, keyword: str) -> tuple[int, str]:
        """Return the name of a parameter or the role of a message, with its offset."""
        if keyword not in {"PARAMETER", "MESSAGE"}:
            return self._offset, ""
        expected = "the name of a parameter" if keyword == "PARAMETER" else "a role"
        if self._peek() and self._peek() not in BLANKS + "\r\n":
            self._fail_after(keyword)
        self._skip(BLANK)
        start = self._offset
        extra = self._take(NAME if keyword == "PARAMETER" else WORD)
        if not extra:
            example = "PARAMETER temperature 0.7" if keyword == "PARAMETER" else "MESSAGE user Hi!"
            self._fail(start, "missing-value", f"expected {expected} after {keyword}", example)
        return start, extra

    def _value(self, keyword: str, before: str) -> Value:
        """Return the value up to the end of the instruction; ``before`` is its head in messages."""
        block = BLOCK.match(self._text, self._offset)
        if block:
            return self._block(keyword, block)
        if self._peek() in {"", "\r", "\n"}:
            self._fail(
                self._offset, "missing-value", f"expected a value after {before}", f'{before} ""'
            )
        if self._peek() not in BLANKS:
            self._fail_after(before)
        opening = past(LEADING, self._text, self._offset)
        fence = fence_at(self._text, opening)
        if not fence:
            return self._plain(keyword)
        scaled = SCALED.match(self._text, opening) if keyword == "ADAPTER" else None
        return _scaled(scaled) if scaled else self._quoted(opening, fence)

    def _plain(self, keyword: str) -> Value:
        end = self._source.line_end(self._offset)
        start = past(BLANK, self._text, self._offset)
        text = self._text[start:end].rstrip(BLANKS)
        if keyword in NAMING:
            text = trim_invisible(text)
        return Value(text=text, start=start, end=end, is_plain=True)

    def _quoted(self, opening: int, fence: str) -> Value:
        start = opening + len(fence)
        closing = None
        if fence not in self._never_closed:
            closing = closing_fence(self._text, start, fence)
        if closing is None:
            self._never_closed.add(fence)
            self._fail_open(opening, fence)
        end = closing + len(fence)
        return Value(text=self._text[start:closing], start=start, end=self._source.line_end(end))

    def _fail_open(self, opening: int, fence: str) -> NoReturn:
        """Raise the problem of unclosed quotes, at what looks like the next instruction."""
        inner = self._text.find(fence, opening + len(fence))
        hint = f"end the last line of the text with {fence}"
        if inner >= 0:
            line = self._source.position(inner).line
            hint = f"nothing may follow the closing {fence}: see line {line}"
        following = STATEMENT.search(self._text, self._source.line_end(opening))
        self._offset = following.start() - 1 if following else len(self._text)
        self._fail(opening, "unclosed", f"{fence} is never closed", hint)

    def _block(self, keyword: str, block: re.Match[str]) -> Value:
        start, suffix = block.end(), block["rest"].strip(BLANKS)
        if suffix and keyword != "ADAPTER":
            self._fail(
                block.start("rest"), "trailing-text", f"expected a new line, not {shown(suffix)}"
            )
        ending = block_end(self._text, start, block)
        if not ending:
            self._offset = len(self._text)
            self._fail(
                block.start(),
                "unclosed",
                f"<<{block['end']} is never closed",
                f"end the text with a line that is only {block['end']}",
            )
        return Value(
            text=self._text[start : max(start, ending.start())],
            start=start,
            end=ending.end(),
            extra=suffix or None,
            extra_start=block.start("rest"),
        )

    def _fail_after(self, word: str) -> NoReturn:
        self._fail(
            self._offset,
            "missing-space",
            f"expected a space after {word}, not {shown(self._peek())}",
        )

    def _fail(self, offset: int, code: str, message: str, hint: str | None = None) -> NoReturn:
        raise ModelfileError(problem_at(self._source.position(offset), code, message, hint=hint))

    def _peek(self) -> str:
        """Return the next character, or an empty text at the end."""
        return self._text[self._offset : self._offset + 1]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._offset = past(pattern, self._text, self._offset)

    def _take(self, pattern: re.Pattern[str]) -> str:
        """Return the pattern's match at the offset, and move behind it."""
        start = self._offset
        self._skip(pattern)
        return self._text[start : self._offset]


def _scaled(scaled: re.Match[str]) -> Value:
    return Value(
        text=scaled["path"],
        start=scaled.start("path"),
        end=scaled.end(),
        extra=scaled["scale"],
        extra_start=scaled.start("scale"),
    )
