"""Inline Markdown of one line as pieces with a style, while the line arrives.

Emphasis, code and links are held back until their end arrives, because what is printed is final. A
marker without an end is printed as it is: at the end of the line, or `HOLD` characters later.
Invariant: the pieces do not depend on how the line was cut, and cost time linear in its length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from localrun.cli.rendering.look import NO_STYLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.cli.rendering.look import Style

    Emit = Callable[[Style, str], None]

HOLD = 300  # characters
MAX_DEPTH = 4
END = "\n"  # of a complete line: no marker continues behind it
SPECIAL = frozenset("*_`[!<\\~")
RUNS = frozenset("*_`~")  # markers of several equal characters
ESCAPABLE = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
SCHEMES = ("http://", "https://", "mailto:")
LONGEST_RUN = 3


class InlineStream:
    """Inline parser of one line."""

    def __init__(self, emit: Emit, style: Style = NO_STYLE) -> None:
        self._emit = emit
        self._style = style
        self._held = ""
        self._before = " "  # twice the character: a run of it that is text may go on

    def feed(self, text: str) -> None:
        """Emit what is decided by now."""
        text = self._held + text
        end = _parse(text, len(text), self._style, self._emit, before=self._before)
        self._held = text[end:]
        if end:
            last = text[end - 1]
            is_run = text[max(0, end - HOLD) : end] == last * min(end, HOLD)
            goes_on = last in RUNS and is_run and (end >= HOLD or self._before == last * 2)
            self._before = last * 2 if goes_on else last

    def finish(self) -> None:
        """Emit the rest of the line."""
        parse_inline(self._held, self._emit, self._style, before=self._before)
        self._held = ""


def parse_inline(
    text: str, emit: Emit, style: Style = NO_STYLE, *, depth: int = 0, before: str = " "
) -> None:
    """Emit the pieces of a complete text; ``before`` is the character before it."""
    if depth >= MAX_DEPTH:
        emit(style, text)
    elif text:
        _parse(text + END, len(text), style, emit, depth=depth, before=before)


def _parse(text: str, length: int, style: Style, emit: Emit, *, depth: int = 0, before: str) -> int:
    """Emit the decided pieces of the first ``length`` characters; return where they end.

    A marker is not decided while its end, or the character behind that, is not in the text.
    """
    is_complete = len(text) > length
    start = position = 0
    while position < length:
        character = text[position]
        if character not in SPECIAL or before == character * 2:
            before, position = before if before == character * 2 else character, position + 1
            continue
        span = _MARKERS[character](text, position, before)
        if span is not None and span.length >= HOLD:
            span = _TEXT  # whether it ends is not known where a stream has to decide
        if span is None and not is_complete and length - position < HOLD:
            break
        if span is not None and span.length:
            _emit_text(style, text[start:position], emit)
            span.emit(style, emit, depth)
            start = position = position + span.length
        else:
            step = _run(text, position) if character in RUNS else 1
            position = min(length, position + step)
        before = text[position - 1]
    _emit_text(style, text[start:position], emit)
    return position


def _emit_text(style: Style, text: str, emit: Emit) -> None:
    if text:
        emit(style, text)


class _Span:
    """Marked text: its whole length, its content, and how it changes the style.

    A length of 0: the marker is text.
    """

    __slots__ = ("change", "is_literal", "length", "text")

    def __init__(
        self,
        length: int,
        text: str = "",
        *,
        is_literal: bool = False,
        **change: Any,  # noqa: ANN401 - fields of a style
    ) -> None:
        self.length = length
        self.text = text
        self.is_literal = is_literal
        self.change = change

    def emit(self, style: Style, emit: Emit, depth: int) -> None:
        inner = replace(style, **self.change) if self.change else style
        if self.is_literal:
            emit(inner, self.text)
        else:
            parse_inline(self.text, emit, inner, depth=depth + 1)


_TEXT = _Span(0)


def _run(text: str, position: int) -> int:
    """Return how often the character at the position is repeated."""
    character, end = text[position], position
    while end < len(text) and text[end] == character:
        end += 1
    return end - position


def _escape(text: str, position: int, _before: str) -> _Span | None:
    if position + 1 == len(text):
        return None
    following = text[position + 1]
    return _Span(2, following, is_literal=True) if following in ESCAPABLE else _TEXT


def _code(text: str, position: int, _before: str) -> _Span | None:
    count = _run(text, position)
    start = position + count
    end = text.find("`" * count, start, start + HOLD)
    while end != -1 and _run(text, end) != count:
        end = text.find("`" * count, end + _run(text, end), start + HOLD)
    if end == -1 or end + count == len(text):
        return None
    return _Span(end + count - position, _code_text(text[start:end]), is_literal=True, is_code=True)


def _code_text(text: str) -> str:
    """Return the content of a code span: one blank at both ends protects backticks."""
    if text.startswith(" ") and text.endswith(" ") and text.strip():
        return text[1:-1]
    return text


def _emphasis(text: str, position: int, before: str) -> _Span | None:
    count = _run(text, position)
    start = position + count
    if start == len(text):
        return None
    marker = text[position]
    is_word = marker == "_" and before.isalnum()
    if count > LONGEST_RUN or text[start].isspace() or is_word:
        return _Span(count, marker * count, is_literal=True)
    end = _emphasis_end(text, start, marker, count)
    if end is None:
        return None
    change: dict[str, Any] = {} if count == 1 else {"is_bold": True}
    if count != 2:  # noqa: PLR2004 - two markers are bold, three are both
        change["is_italic"] = True
    return _Span(end + count - position, text[start:end], **change)


def _emphasis_end(text: str, start: int, marker: str, count: int) -> int | None:
    """Return where the closing run of the same length begins; None if it is not there (yet)."""
    end = text.find(marker * count, start + 1, start + HOLD)
    while end != -1:
        run = _run(text, end)
        after = end + run
        if after == len(text):
            return None
        closes = not text[end - 1].isspace() and run == count
        if closes and not (marker == "_" and text[after].isalnum()):
            return end
        end = text.find(marker * count, after, start + HOLD)
    return None


def _strike(text: str, position: int, _before: str) -> _Span | None:
    count = _run(text, position)
    start = position + count
    if start == len(text):
        return None
    if count != 2 or text[start].isspace():  # noqa: PLR2004 - "~~"
        return _Span(count, "~" * count, is_literal=True)
    end = text.find("~~", start, start + HOLD)
    return None if end == -1 else _Span(end + 2 - position, text[start:end], is_struck=True)


def _link(text: str, position: int, _before: str) -> _Span | None:
    close = text.find("]", position, position + HOLD)
    if close == -1 or close + 1 == len(text):
        return None
    if text[close + 1] != "(":
        return _TEXT
    end = _target_end(text, close + 2)
    if end == -1:
        return None
    url = text[close + 2 : end].strip().split(" ", 1)[0]
    label = text[position + 1 : close]
    if not _is_url(url) or not label:
        return _TEXT
    return _Span(end + 1 - position, label, link=url)


def _target_end(text: str, start: int) -> int:
    """Return where the target of a link ends, which may have pairs of parentheses; -1: not here."""
    depth = 0
    for end in range(start, min(len(text), start + HOLD)):
        if text[end] == ")" and not depth:
            return end
        depth += {"(": 1, ")": -1}.get(text[end], 0)
    return -1


def _image(text: str, position: int, before: str) -> _Span | None:
    if position + 1 == len(text):
        return None
    if text[position + 1] != "[":
        return _TEXT
    link = _link(text, position + 1, before)
    if link is None or not link.length:
        return link
    return _Span(link.length + 1, link.text, **link.change)


def _autolink(text: str, position: int, _before: str) -> _Span | None:
    end = text.find(">", position, position + HOLD)
    if end == -1:
        head = text[position + 1 : position + 1 + len(SCHEMES[1])]
        is_possible = any(scheme.startswith(head) or head.startswith(scheme) for scheme in SCHEMES)
        return None if is_possible else _TEXT
    url = text[position + 1 : end]
    return _Span(end + 1 - position, url, is_literal=True, link=url) if _is_url(url) else _TEXT


def _is_url(text: str) -> bool:
    return text.startswith(SCHEMES) and text.isprintable() and " " not in text


_MARKERS: dict[str, Callable[[str, int, str], _Span | None]] = {
    "\\": _escape, "`": _code, "*": _emphasis, "_": _emphasis, "~": _strike,
    "[": _link, "!": _image, "<": _autolink,
}  # fmt: skip
